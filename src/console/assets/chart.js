// A line of prices over time. The drawing stretches with its box; texts and the
// dot stand above it as HTML, so they do not.

import { h, localTime, svg } from "./dom.js";

/** Ten minutes at one quote in two seconds. */
const POINTS = 300;

/** A stream that was away for so many seconds breaks the line. */
const GAP = 30;

/** The least that the width stands for, in seconds. */
const LEAST = 10;

const WIDTH = 1000;
const HEIGHT = 300;

const price = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
let number = 0;

export class Chart {
  #points = [];
  #line = svg("path", { class: "curve" });
  #area = svg("path", { class: "area" });
  #first = svg("line", { class: "first", x1: 0, x2: WIDTH });
  #now = h("span", { class: "now" });
  #trend = h("span", { class: "trend" });
  #dot = h("span", { class: "dot", hidden: true });
  #cross = h("span", { class: "cross", hidden: true });
  #high = h("span", { class: "high" });
  #low = h("span", { class: "low" });
  #from = h("span", {});
  #until = h("span", {});
  #plot;
  #pointed = null;
  #paused = false;

  constructor(symbol) {
    const gradient = `fade-${(number += 1)}`;
    this.#area.setAttribute("fill", `url(#${gradient})`);
    const drawing = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      svg(
        "linearGradient",
        { id: gradient, x1: 0, x2: 0, y1: 0, y2: 1 },
        svg("stop", { class: "fade-from", offset: "0" }),
        svg("stop", { class: "fade-to", offset: "1" }),
      ),
      this.#area,
      this.#first,
      this.#line,
    );
    this.#plot = h("div", { class: "plot" }, drawing, this.#cross, this.#dot, this.#high, this.#low);
    this.#plot.addEventListener("pointermove", (event) => this.#point(event));
    this.#plot.addEventListener("pointerleave", () => this.#point(null));
    this.element = h(
      "figure",
      { class: "chart", "data-symbol": symbol },
      h("figcaption", {}, h("b", {}, symbol), this.#now, this.#trend),
      this.#plot,
      h("div", { class: "span", "aria-hidden": "true" }, this.#from, this.#until),
    );
    this.#now.textContent = "waiting for a quote";
  }

  /** Says that quotes may be missing before the next one. */
  pause() {
    this.#paused = true;
  }

  /** `time` in Unix seconds, with a fraction if it is known. */
  add(time, value) {
    const last = this.#points.at(-1);
    this.#points.push({ time: Math.max(time, last?.time ?? 0), value, breaks: this.#paused && time - last?.time > GAP });
    this.#paused = false;
    if (this.#points.length > POINTS) this.#points.shift();
    this.element.dataset.points = this.#points.length;
    this.#draw();
  }

  #draw() {
    const points = this.#points;
    const [first, last] = [points[0], points.at(-1)];
    const values = points.map(({ value }) => value);
    let [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = (high - low || Math.max(high * 0.002, 0.02)) * 0.12;
    [low, high] = [low - margin, high + margin];
    const span = Math.max(last.time - first.time, LEAST);
    const at = (point) => {
      point.x = (point.time - first.time) / span;
      point.y = 1 - (point.value - low) / (high - low);
      return `${(point.x * WIDTH).toFixed(1)} ${(point.y * HEIGHT).toFixed(1)}`;
    };
    let line = "";
    let area = "";
    points.forEach((point, index) => {
      const place = at(point);
      const before = points[index - 1];
      if (before && !point.breaks) {
        line += `L${place}`;
        area += `L${place}`;
      } else {
        const x = (p) => (p.x * WIDTH).toFixed(1);
        area += `${before ? `L${x(before)} ${HEIGHT}Z` : ""}M${x(point)} ${HEIGHT}L${place}`;
        line += `M${place}`;
      }
    });
    area += `L${(last.x * WIDTH).toFixed(1)} ${HEIGHT}Z`;
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", area);
    for (const y of ["y1", "y2"]) this.#first.setAttribute(y, first.y * HEIGHT);
    this.#high.textContent = price.format(Math.max(...values));
    this.#low.textContent = price.format(Math.min(...values));
    this.#from.textContent = localTime(new Date(first.time * 1000));
    this.#until.textContent = localTime(new Date((first.time + span) * 1000));
    place(this.#dot, last);
    this.#caption();
  }

  // What stands above the drawing: the newest price, or the one pointed at.
  #caption() {
    const first = this.#points[0];
    const shown = this.#pointed ?? this.#points.at(-1);
    const percent = (100 * (shown.value - first.value)) / first.value;
    this.element.dataset.direction = Math.sign(this.#points.at(-1).value - first.value);
    this.#now.textContent = price.format(shown.value);
    this.#trend.textContent = this.#pointed
      ? localTime(new Date(shown.time * 1000))
      : `${percent < 0 ? "▼" : "▲"} ${Math.abs(percent).toFixed(2)} % in ${lasting(shown.time - first.time)}`;
    this.#cross.hidden = !this.#pointed;
    if (this.#pointed) place(this.#cross, this.#pointed);
  }

  #point(event) {
    if (this.#points.length === 0) return;
    const box = this.#plot.getBoundingClientRect();
    const x = event && (event.clientX - box.left) / box.width;
    const closer = (a, b) => (Math.abs(b.x - x) < Math.abs(a.x - x) ? b : a);
    this.#pointed = event && this.#points.reduce(closer);
    this.#caption();
  }
}

const lasting = (seconds) => (seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`);

function place(element, { x, y }) {
  element.hidden = false;
  element.style.left = `${100 * x}%`;
  element.style.top = `${100 * y}%`;
}
