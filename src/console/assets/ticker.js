// The stock ticker: a table of the newest quotes and a chart for each symbol.

import { Chart } from "./chart.js";
import { h, icon as drawing, settings, time } from "./dom.js";

export const id = "ticker";
export const title = "Ticker";
export const icon = "M4 17l5-6 4 3 7-8M15.5 6H20v4.5";

const CROSS = "M6 6l12 12M18 6L6 18";
const FIRST_VISIT = "AAPL,GOOGL,MSFT";
const MOST = 100;
// Here a comma or a blank starts a new one.
const SYMBOL = /^[^\p{Cc}\p{White_Space},]{1,32}$/u;

const price = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const signed = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: "always" });
const whole = new Intl.NumberFormat();

export function start({ panel, stream, announce }) {
  const rows = new Map();

  const field = h("input", {
    id: "ticker-symbol",
    placeholder: "Symbol, for instance NVDA",
    maxlength: "200",
    autocomplete: "off",
    autocapitalize: "characters",
    spellcheck: "false",
    enterkeyhint: "done",
  });
  const error = h("p", { class: "problem", role: "alert", hidden: true });
  const form = h(
    "form",
    { class: "line", onsubmit: submit },
    h("label", { class: "unseen", for: "ticker-symbol" }, "Symbol to add"),
    field,
    h("button", { class: "primary" }, "Add"),
  );
  const body = h("tbody", { role: "rowgroup" });
  const heading = (text, kind = "") => h("th", { role: "columnheader", scope: "col", class: kind }, text);
  // The roles stay when a phone's style makes a grid of each row.
  const table = h(
    "table",
    { class: "quotes", role: "table", "aria-label": "Quotes" },
    h(
      "thead",
      { role: "rowgroup" },
      h(
        "tr",
        { role: "row" },
        heading("Symbol"),
        heading("Price", "figure"),
        heading("Change", "figure"),
        heading("Percent", "figure"),
        heading("Volume", "figure"),
        heading("Time", "figure"),
        heading(h("span", { class: "unseen" }, "Remove")),
      ),
    ),
    body,
  );
  const charts = h("div", { class: "charts" });
  const empty = h("p", { class: "empty" }, "No symbols. Add one above.");
  panel.append(h("div", { class: "scroll page" }, form, error, empty, table, charts));

  const asked = new URLSearchParams(location.search).get("symbols");
  for (const symbol of split(asked ?? settings.get("symbols") ?? FIRST_VISIT)) {
    if (SYMBOL.test(symbol)) add(symbol);
  }
  changed();

  function split(text) {
    return text.split(/[\s,]+/).filter(Boolean);
  }

  function submit(event) {
    event.preventDefault();
    const symbols = split(field.value);
    const wrong = symbols.find((symbol) => !SYMBOL.test(symbol));
    if (wrong) return fail(`${wrong}: a symbol has 1 to 32 characters.`);
    fail("");
    for (const symbol of symbols) add(symbol);
    field.value = "";
    changed();
  }

  function fail(message) {
    error.textContent = message;
    error.hidden = !message;
  }

  function add(symbol) {
    if (rows.has(symbol)) return;
    if (rows.size >= MOST) return fail(`${symbol}: a page shows at most ${MOST} symbols.`);
    const chart = new Chart(symbol);
    const cell = (kind) => h("td", { role: "cell", class: kind }, "");
    const cells = {
      price: cell("figure price"),
      change: cell("figure change"),
      percent: cell("figure percent"),
      volume: cell("figure volume"),
      time: cell("figure when"),
    };
    const button = h(
      "button",
      { type: "button", class: "remove", "aria-label": `Remove ${symbol}`, onclick: () => remove(symbol) },
      drawing(CROSS),
    );
    const row = h(
      "tr",
      { role: "row", "data-symbol": symbol },
      h("th", { role: "rowheader", scope: "row" }, symbol),
      ...Object.values(cells),
      h("td", { role: "cell", class: "act" }, button),
    );
    rows.set(symbol, { row, cells, chart, button, last: null });
    body.append(row);
    charts.append(chart.element);
  }

  function remove(symbol) {
    const { row, chart } = rows.get(symbol);
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    chart.element.remove();
    rows.delete(symbol);
    (next?.querySelector("button") ?? field).focus();
    announce(`${symbol} removed`);
    changed();
  }

  function changed() {
    const symbols = [...rows.keys()].join(",");
    settings.set("symbols", symbols);
    const address = new URL(location);
    if (rows.size > 0) address.searchParams.set("symbols", symbols);
    else address.searchParams.delete("symbols");
    address.search = address.search.replaceAll("%2C", ",");
    history.replaceState(null, "", address);
    empty.hidden = rows.size > 0;
    table.hidden = rows.size === 0;
    stream.ask("symbols", symbols);
  }

  stream.on("quote", (quote) => {
    const shown = rows.get(quote.symbol);
    // A new stream begins with the quote that the old one may have shown.
    if (!shown || (shown.last?.time === quote.time && shown.last.price === quote.price)) return;
    const { row, cells, chart, last } = shown;
    shown.last = quote;
    const direction = Math.sign(quote.change);
    row.dataset.direction = direction;
    cells.price.textContent = price.format(quote.price);
    cells.change.replaceChildren(h("span", { class: "arrow", "aria-hidden": "true" }, ["▼", "•", "▲"][direction + 1]), signed.format(quote.change));
    cells.percent.textContent = `${signed.format(quote.percent)} %`;
    cells.volume.textContent = whole.format(quote.volume);
    cells.time.replaceChildren(time(new Date(quote.time * 1000)));
    if (last && last.price !== quote.price) flash(cells.price, quote.price > last.price ? "rose" : "fell");
    // The quote's time is in whole seconds; that of its arrival may be finer.
    const fraction = Math.min(Math.max(Date.now() / 1000 - quote.time, 0), 0.999);
    chart.add(quote.time + fraction, quote.price);
  });

  const pause = () => {
    for (const { chart } of rows.values()) chart.pause();
  };
  stream.on("hello", pause);
  stream.on("status", pause);

  stream.on("refused", ({ symbols, count, message }) => {
    fail(count > 1 ? `${message} (${count} symbols)` : message);
    const refused = symbols.filter((symbol) => rows.has(symbol));
    for (const symbol of refused) {
      rows.get(symbol).row.remove();
      rows.get(symbol).chart.element.remove();
      rows.delete(symbol);
    }
    if (refused.length > 0) changed();
  });
}

function flash(cell, kind) {
  cell.classList.remove("rose", "fell");
  // Reading the size makes the browser see the removal, so that the flash starts anew.
  void cell.offsetWidth;
  cell.classList.add(kind);
}
