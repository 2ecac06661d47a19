// The chat: what is said from now on.

import { h, settings, time } from "./dom.js";
import { outbox } from "./outbox.js";

export const id = "chat";
export const title = "Chat";
export const icon = "M4 5.5A1.5 1.5 0 0 1 5.5 4h13A1.5 1.5 0 0 1 20 5.5v9a1.5 1.5 0 0 1-1.5 1.5H11l-5 4v-4h-.5A1.5 1.5 0 0 1 4 14.5z";

/** Older messages make room. */
const KEPT = 1_000;

/** Messages of one author within this time stand under one name. */
const TOGETHER = 120_000;

export function start({ panel, stream, badge, visible }) {
  let unread = 0;
  let previous = null;

  const list = h("ol", { class: "messages" });
  const empty = h("p", { class: "empty" }, "No messages yet. What is said from now on appears here.");
  const name = h("input", {
    id: "chat-name",
    autocomplete: "nickname",
    placeholder: "Your name",
    maxlength: "64",
    oninput: () => settings.set("name", name.value),
  });
  name.value = settings.get("name") ?? "";
  const text = h("textarea", {
    id: "chat-text",
    rows: "1",
    placeholder: "Message",
    enterkeyhint: "send",
    onkeydown: (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    },
  });
  const error = h("p", { class: "problem", role: "alert", hidden: true });
  const form = h(
    "form",
    { class: "composer", onsubmit: submit },
    h("label", { class: "unseen", for: "chat-name" }, "Your name"),
    name,
    h("label", { class: "unseen", for: "chat-text" }, "Message; Enter sends, Shift and Enter begins a line"),
    text,
    h("button", { class: "primary" }, "Send"),
  );
  const out = outbox({ id, stream, path: "/api/chat", field: text, fail });
  // The role is not the list's: it would be no list then.
  const scroll = h("div", { class: "scroll", role: "log", "aria-label": "Messages", tabindex: "0" }, empty, list);
  panel.append(scroll, out.element, error, form);

  function submit(event) {
    event.preventDefault();
    const message = { author: name.value.trim(), text: text.value };
    if (!message.text.trim()) return;
    if (!message.author) {
      fail("Say who you are first.");
      name.focus();
      return;
    }
    // It shows when it comes back on the stream, in the one order of all messages.
    text.value = "";
    out.send(message, message.text);
  }

  function fail(message) {
    error.textContent = message;
    error.hidden = !message;
  }

  function add(row) {
    const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
    empty.hidden = true;
    list.append(row);
    while (list.childElementCount > KEPT) list.firstChild.remove();
    if (atEnd) toEnd();
  }

  function toEnd() {
    scroll.scrollTop = scroll.scrollHeight;
  }

  stream.on("chat", (message) => {
    out.arrived({ author: message.author, text: message.text });
    const date = new Date(message.sendTime);
    const mine = message.author === name.value.trim() && message.author !== "";
    const follows = previous?.author === message.author && date - previous.date < TOGETHER;
    previous = { author: message.author, date };
    const author = message.author || "nobody";
    const row = h(
      "li",
      { class: `message${mine ? " mine" : ""}${follows ? " follows" : ""}` },
      h("span", { class: "avatar", "aria-hidden": "true" }, [...author][0].toUpperCase()),
      h("p", { class: "who" }, h("b", {}, author), " ", time(date)),
      h("p", { class: "text" }, message.text),
    );
    row.style.setProperty("--hue", hue(author));
    add(row);
    if (!visible()) {
      unread += 1;
      badge(unread > 99 ? "99+" : String(unread));
    }
  });

  stream.on("gap", () => {
    previous = null;
    add(h("li", { class: "gap" }, "Messages may be missing here."));
  });

  return {
    shown() {
      unread = 0;
      badge("");
      toEnd();
    },
  };
}

/** Everybody has a colour of their own, the same on every page. */
function hue(author) {
  let sum = 7;
  for (const letter of author) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  return sum;
}
