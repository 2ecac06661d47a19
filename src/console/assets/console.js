// The frame: tabs, the stream they share, and what is wrong with it. A new tab
// is a module with `id`, `title`, `icon` and `start`, and a line in this list. One
// that is `optional` stays hidden until its service is known to be there.

import * as chat from "./chat.js";
import * as log from "./history.js";
import * as jobs from "./jobs.js";
import * as ticker from "./ticker.js";
import * as todo from "./todo.js";
import { get, h, icon, localTime, post } from "./dom.js";
import { Stream } from "./stream.js";

const MODULES = [chat, todo, ticker, log, jobs];

const tablist = document.querySelector("[role=tablist]");
const panels = document.getElementById("panels");
const tabs = MODULES.map(build);
let current = null;

/** The services that the console cannot reach, with the time since when. */
const down = new Map();

/** When each service last showed that it is alive, by this page's clock. */
const proofs = new Map();

/** So old, in milliseconds, such a proof proves nothing. */
const FRESH = 12_000;
let link = "waiting";
const stream = new Stream((state) => {
  link = state;
  showState();
});

stream.on("status", ({ service, up, since, missing }) => {
  const tab = tabs.find((tab) => tab.module.id === service);
  if (!tab) return;
  if (up) proofs.set(service, performance.now());
  if (up || missing) down.delete(service);
  else down.set(service, new Date(since));
  // A server need not have all services.
  tab.button.hidden = missing;
  if (missing && tab === current) select(shownTabs()[0] ?? tab);
  showState();
});

stream.on("beat", (ages) => {
  for (const [service, age] of Object.entries(ages)) proofs.set(service, performance.now() - age);
  showState();
});

for (const tab of tabs) {
  const badge = (text) => {
    tab.badge.textContent = text;
    tab.badge.hidden = !text;
    document.title = tabs.reduce((title, { badge }) => (badge.textContent ? `(${badge.textContent}) ${title}` : title), "messenger");
  };
  tab.hooks = tab.module.start({ panel: tab.panel, stream, badge, announce, visible: () => tab === current && !document.hidden }) ?? {};
}

function build(module) {
  const badge = h("span", { class: "badge", hidden: true });
  const panel = h("section", {
    class: "panel",
    id: `panel-${module.id}`,
    role: "tabpanel",
    "aria-labelledby": `tab-${module.id}`,
    hidden: true,
  });
  const button = h(
    "button",
    {
      class: "tab",
      id: `tab-${module.id}`,
      type: "button",
      role: "tab",
      "aria-controls": panel.id,
      "aria-selected": "false",
      tabindex: "-1",
      onclick: () => select(tab),
      onkeydown: (event) => move(tab, event),
      hidden: module.optional,
    },
    icon(module.icon),
    h("span", {}, module.title),
    badge,
  );
  const tab = { module, button, panel, badge };
  tablist.append(button);
  panels.append(panel);
  return tab;
}

function select(chosen) {
  current = chosen;
  for (const tab of tabs) {
    const is = tab === chosen;
    tab.panel.hidden = !is;
    tab.button.setAttribute("aria-selected", is);
    tab.button.tabIndex = is ? 0 : -1;
  }
  // A tab may have an address of its own.
  const { id, path } = chosen.module;
  history.replaceState(null, "", path ? `${path}${location.search}` : `/${location.search}#${id}`);
  chosen.hooks.shown?.();
  showState();
}

// Tabs as the ARIA practices have them: one stop, arrows move and choose.
function move(tab, event) {
  const shown = shownTabs();
  const at = shown.indexOf(tab);
  const target = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: -1 }[event.key];
  if (target === undefined) return;
  event.preventDefault();
  const next = shown.at(target % shown.length);
  select(next);
  next.button.focus();
}

function shownTabs() {
  return tabs.filter(({ button }) => !button.hidden);
}

function fromAddress() {
  select(tabs.find(({ module: { id, path } }) => `#${id}` === location.hash || (!location.hash && path === location.pathname)) ?? tabs[0]);
}

const LABELS = { waiting: "connecting", open: "live", lost: "reconnecting" };

const age = ({ module }) => performance.now() - proofs.get(module.id);
const isDown = (tab) => down.has(tab.module.id) || age(tab) > FRESH;

// The label is for the tab that is shown.
function showState() {
  const known = proofs.has(current.module.id);
  const state = link !== "open" ? link : !known ? "waiting" : isDown(current) ? "lost" : "open";
  const label = document.getElementById("state");
  const stale = state === "lost" && link === "open" && !down.has(current.module.id);
  const words = stale ? `no news since ${localTime(new Date(Date.now() - age(current)))}` : LABELS[state];
  label.dataset.state = state;
  if (label.textContent !== words) label.textContent = words;
  const banner = document.getElementById("banner");
  const text = problem();
  // The same text again would be read aloud again.
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = !text;
  for (const tab of tabs) tab.button.classList.toggle("down", isDown(tab));
}

function problem() {
  if (link === "lost") return "The console cannot be reached. Reconnecting…";
  if (link !== "open" || down.size === 0) return "";
  const since = localTime(new Date(Math.min(...down.values())));
  const services = tabs.filter((tab) => down.has(tab.module.id)).map((tab) => tab.module.title);
  const who = down.size >= shownTabs().length ? "The server does" : `${services.join(" and ")} ${services.length > 1 ? "do" : "does"}`;
  return `${who} not answer since ${since}. Reconnecting…`;
}

/** Has a screen reader say what others see at a glance. */
function announce(text) {
  document.getElementById("announcer").textContent = text;
}

const logout = document.getElementById("logout");
logout.onclick = () => post("/api/logout", {}).then(() => location.assign("/login"), ({ message }) => announce(message));
get("/api/session").then(({ login }) => (logout.hidden = !login), () => {});

addEventListener("hashchange", fromAddress);
document.addEventListener("visibilitychange", () => !document.hidden && current.hooks.shown?.());
fromAddress();
setInterval(showState, 1_000);
stream.open();
