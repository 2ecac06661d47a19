// The message log: its newest messages, live, and who has sent how many.

import { get, h, icon as drawing, moment, settings } from "./dom.js";
import { outbox } from "./outbox.js";

export const id = "history";
export const title = "History";
export const icon = "M4 12a8 8 0 1 0 2.6-5.9M4 4v4h4M12 8v4.5l3 2";
export const optional = true;

/** Older messages make room, later when one has paged back to them. */
const KEPT = 1_000;
const MOST = 5_000;

/** So many older messages are fetched at a time. */
const PAGE = 100;

/** So many senders are shown at first; "more" shows so many more. */
const SENDERS = 50;

/** The table of senders is drawn at most so often, in milliseconds. */
const DRAW = 100;

const CHEVRON = "M8 10l4 4 4-4";

export function start({ panel, stream }) {
  const counts = new Map();
  let limit = SENDERS;
  let pending = 0;
  /** The first and the newest message that are shown; they are without a hole. */
  let first = null;
  let last = null;

  const list = h("ol", { class: "entries" });
  const earlier = h("button", { type: "button", class: "more", hidden: true, onclick: pageBack }, "Earlier messages");
  const empty = h("p", { class: "empty", hidden: true }, "The log is empty. Whatever is sent to it stays, and appears here.");
  const scroll = h("div", { class: "scroll" }, earlier, empty, h("div", { role: "log", "aria-label": "Log", tabindex: "0" }, list));

  const rows = h("tbody", {});
  const more = h("button", { type: "button", class: "more", hidden: true, onclick: showMore });
  const total = h("span", { class: "total" });
  const senders = h(
    "details",
    { class: "senders", open: matchMedia("(min-width: 42.01rem)").matches },
    h("summary", {}, drawing(CHEVRON), "Senders", total),
    h("table", { "aria-label": "Senders" }, h("thead", { class: "unseen" }, h("tr", {}, h("th", {}, "Sender"), h("th", {}, "Messages"))), rows),
    more,
  );

  const sender = h("input", {
    id: "history-sender",
    autocomplete: "nickname",
    placeholder: "Sender",
    maxlength: "256",
  });
  sender.value = settings.get("name") ?? "";
  const text = h("input", { id: "history-text", placeholder: "Message to keep", autocomplete: "off", enterkeyhint: "send" });
  const error = h("p", { class: "problem", role: "alert", hidden: true });
  const form = h(
    "form",
    { class: "composer", onsubmit: submit },
    h("label", { class: "unseen", for: "history-sender" }, "Sender"),
    sender,
    h("label", { class: "unseen", for: "history-text" }, "Message to keep"),
    text,
    h("button", { class: "primary" }, "Send"),
  );
  const out = outbox({ id, stream, path: "/api/history", field: text, fail });
  panel.append(h("div", { class: "log" }, senders, scroll), out.element, error, form);

  function submit(event) {
    event.preventDefault();
    const message = { sender: sender.value.trim(), text: text.value };
    if (!message.text.trim()) return;
    if (!message.sender) {
      fail("Say who sends it first.");
      sender.focus();
      return;
    }
    // It shows when it comes on the stream, in the order of the log.
    text.value = "";
    out.send(message, message.text);
  }

  function fail(message) {
    error.textContent = message;
    error.hidden = !message;
  }

  function row(message) {
    return h(
      "li",
      { "data-number": message.number },
      h("span", { class: "number" }, `#${message.number}`),
      h("p", { class: "who" }, h("b", {}, message.sender || "nobody"), h("span", { class: "nth" }, `message ${message.senderCount.toLocaleString()}`), " ", moment(new Date(message.sentAt))),
      h("p", { class: "words" }, message.text),
    );
  }

  const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;

  function toEnd() {
    scroll.scrollTop = scroll.scrollHeight;
  }

  function append(messages) {
    if (messages.length === 0) return;
    for (const { sender, text } of messages) out.arrived({ sender, text });
    const follow = atEnd();
    list.append(...messages.map(row));
    first ??= messages[0].number;
    last = messages.at(-1);
    for (const message of messages) count(message.sender, message.senderCount);
    // Who reads further up does not have the rows drawn away.
    const most = follow ? KEPT : MOST;
    while (list.childElementCount > most) {
      list.firstChild.remove();
      first += 1;
    }
    if (follow) toEnd();
    show();
  }

  function show() {
    empty.hidden = last !== null;
    earlier.hidden = last === null || first <= 1 || list.childElementCount >= MOST;
  }

  async function pageBack() {
    fail("");
    const before = first;
    earlier.disabled = true;
    try {
      const messages = await get(`/api/history?limit=${PAGE}&before=${before}`);
      // The list may have been drawn anew meanwhile.
      if (first !== before || messages.length === 0) return;
      const height = scroll.scrollHeight - scroll.scrollTop;
      list.prepend(...messages.map(row));
      first = messages[0].number;
      show();
      // What one was reading stays where it is.
      scroll.scrollTop = scroll.scrollHeight - height;
    } catch (reason) {
      fail(reason.message);
    } finally {
      earlier.disabled = false;
    }
  }

  function count(name, value) {
    counts.set(name, Math.max(value, counts.get(name) ?? 0));
    pending ||= setTimeout(draw, DRAW);
  }

  function draw() {
    pending = 0;
    const all = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    const name = (text) => h("th", { scope: "row" }, text || "nobody");
    rows.replaceChildren(...all.slice(0, limit).map(([sender, value]) => h("tr", {}, name(sender), h("td", { class: "figure" }, value.toLocaleString()))));
    total.textContent = all.length.toLocaleString();
    more.hidden = all.length <= limit;
    more.textContent = `Show more (${(all.length - limit).toLocaleString()} left)`;
  }

  function showMore() {
    limit += SENDERS;
    draw();
  }

  stream.on("history", (log) => {
    // It goes on where this page stands, or the page starts anew.
    const next = log.messages[0]?.number;
    const same = log.messages.find(({ number }) => number === last?.number);
    const goesOn = last && (same ? same.sentAt === last.sentAt : next === last.number + 1);
    if (!goesOn) {
      list.replaceChildren();
      first = last = null;
    }
    counts.clear();
    for (const { sender, count: value } of log.senders) count(sender, value);
    append(log.messages.filter(({ number }) => !last || number > last.number));
    if (!goesOn) toEnd();
    show();
    draw();
  });

  stream.on("entry", (message) => {
    if (!last || message.number > last.number) append([message]);
  });

  return { shown: toEnd };
}
