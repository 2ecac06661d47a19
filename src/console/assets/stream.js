// The one stream of events for the whole page: browsers open only six
// connections to a host, so the tabs share it.

import { leaveIfOver } from "./dom.js";

const RETRY = { first: 250, most: 2_000 };

/** The console says something every 5 seconds; silence means a dead connection. */
const SILENCE = 15_000;

/** How long a page that nobody sees keeps its connection from other pages. */
const HIDDEN = 60_000;

export class Stream {
  #listeners = new Map();
  #parameters = new Map();
  #source = null;
  #lastId = "";
  #wait = RETRY.first;
  #retry = 0;
  #silence = 0;
  #hidden = 0;
  #onState;

  /** `onState` is told "waiting", "open" or "lost". */
  constructor(onState) {
    this.#onState = onState;
    document.addEventListener("visibilitychange", () => this.#visibility());
    addEventListener("online", () => this.#source?.readyState !== EventSource.OPEN && this.open());
  }

  /** Calls `listener` with the data of every event of this type. */
  on(type, listener) {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  /** Asks for something in the stream's address; what was open is opened anew. */
  ask(name, value) {
    if (this.#parameters.get(name) === value) return;
    this.#parameters.set(name, value);
    if (this.#source) this.open();
  }

  /** Opens the stream, from the last chat message on that this page has seen. */
  open() {
    this.close();
    const query = new URLSearchParams([...this.#parameters].filter(([, value]) => value));
    if (this.#lastId) query.set("after", this.#lastId);
    const source = new EventSource(`/events?${query}`);
    this.#source = source;
    source.addEventListener("open", () => {
      this.#wait = RETRY.first;
      this.#onState("open");
    });
    source.addEventListener("error", () => this.#failed());
    for (const type of new Set(["hello", "beat", ...this.#listeners.keys()])) {
      source.addEventListener(type, (event) => this.#received(type, event));
    }
    this.#listen();
  }

  close() {
    clearTimeout(this.#retry);
    clearTimeout(this.#silence);
    this.#source?.close();
    this.#source = null;
  }

  #received(type, event) {
    this.#listen();
    if (event.lastEventId) this.#lastId = event.lastEventId;
    const data = JSON.parse(event.data);
    for (const listener of this.#listeners.get(type) ?? []) listener(data);
  }

  // The browser would try again by itself, but not after every kind of failure,
  // and not with the symbols of now.
  #failed() {
    this.close();
    this.#onState("lost");
    leaveIfOver();
    this.#retry = setTimeout(() => this.open(), this.#wait * (0.5 + Math.random() / 2));
    this.#wait = Math.min(this.#wait * 2, RETRY.most);
  }

  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#failed(), SILENCE);
  }

  #visibility() {
    clearTimeout(this.#hidden);
    if (document.hidden) {
      this.#hidden = setTimeout(() => this.close(), HIDDEN);
    } else if (!this.#source) {
      this.#onState("waiting");
      this.open();
    }
  }
}
