// Elements, times and numbers. Whatever is not an element becomes a text node:
// nothing in this console parses HTML, and the server's policy forbids it.

/** Builds an element: `h("li", { class: "task", onclick: act }, "text", child)`. */
export function h(name, properties = {}, ...children) {
  return fill(document.createElement(name), properties, children);
}

/** The same for SVG. */
export function svg(name, properties = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A line drawing of 24 x 24, for a tab or a button. */
export function icon(path) {
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: path }));
}

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

/** A `<time>` that shows the local time, and the whole of it on hovering. */
export function time(date) {
  return h("time", { datetime: date.toISOString(), title: full.format(date) }, clock.format(date));
}

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** The same with the date, if that is not today. */
export function moment(date) {
  const element = time(date);
  if (day.format(date) !== day.format(new Date())) element.prepend(`${day.format(date)}, `);
  return element;
}

export const localTime = (date) => clock.format(date);

/** localStorage, where a browser grants it: settings are then kept for the page's life. */
const unsaved = new Map();
export const settings = {
  get(name) {
    try {
      return localStorage.getItem(name);
    } catch {
      return unsaved.get(name) ?? null;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(name, value);
    } catch {
      unsaved.set(name, value);
    }
  },
};

/** Posts JSON; throws an Error whose message is for people, `refused` if it will always be. */
export function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return call("It may have arrived or not.", path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Gets JSON, likewise. */
export const get = (path) => call("Try again.", path);

/** Goes to the login if the session is over, which does not come back by itself. */
export async function leaveIfOver() {
  const answer = await fetch("/api/session").catch(() => null);
  if (answer?.status === 401) location.assign(`/login${location.hash}`);
}

async function call(consequence, path, options) {
  let answer;
  try {
    answer = await fetch(path, { ...options, signal: AbortSignal.timeout(10_000) });
  } catch {
    throw new Error(`The console does not answer. ${consequence}`);
  }
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  if (answer.status === 401) leaveIfOver();
  const { code, message = `The console answered ${answer.status}.` } = content.error ?? {};
  const words = {
    DEADLINE_EXCEEDED: `There was no answer in time. ${consequence}`,
    UNAVAILABLE: "The service is not available.",
  };
  throw Object.assign(new Error(words[code] ?? message), { refused: answer.status < 500 });
}
