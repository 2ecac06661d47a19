// What was sent and is not known to have arrived: a row each, which keeps the text.

import { h, post } from "./dom.js";

/** An answer that takes longer shows that it is waited for. */
const SLOW = 500;

/**
 * Posts to `path` for the tab `id`. What is refused goes back to `field`, with the
 * reason to `fail`; what fails otherwise stays in `element`, to be sent again.
 */
export function outbox({ id, stream, path, field, fail, sent = () => {} }) {
  const element = h("ul", { class: "outbox", "aria-label": "Not known to have arrived" });

  function send(body, text) {
    const said = h("span", { class: "said", role: "status" });
    const again = h("button", { type: "button", onclick: attempt }, "Retry");
    const discard = h("button", { type: "button", onclick: over }, "Discard");
    const row = h("li", { hidden: true }, h("p", { class: "words" }, text), said, again, discard);
    row.body = JSON.stringify(body);
    fail("");
    element.append(row);
    attempt();

    function over() {
      if (row.contains(document.activeElement)) field.focus();
      row.remove();
    }

    function show(state, text) {
      row.dataset.state = state;
      said.textContent = text;
      again.disabled = discard.disabled = state === "sending";
    }

    async function attempt() {
      show("sending", "Sending…");
      const slow = setTimeout(() => (row.hidden = false), SLOW);
      try {
        sent(await post(path, body));
        over();
      } catch (reason) {
        if (reason.refused && !field.value) {
          field.value = text;
          over();
          fail(reason.message);
        } else {
          show("failed", reason.message);
          row.hidden = false;
        }
      } finally {
        clearTimeout(slow);
      }
    }
  }

  const failed = () => [...element.children].filter((row) => row.dataset.state === "failed");

  // What was wrong is over, and what was sent may be sent again.
  stream.on("status", ({ service, up }) => {
    if (service !== id || !up) return;
    fail("");
    for (const row of failed()) row.querySelector(".said").textContent = "Sent, but not known to have arrived.";
  });

  /** It has come back on the stream, so it had arrived. */
  function arrived(body) {
    failed()
      .find((row) => row.body === JSON.stringify(body))
      ?.remove();
  }

  return { element, send, arrived };
}
