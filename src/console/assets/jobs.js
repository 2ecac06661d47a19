// Jobs: tasks for the queue, and what has come of them.

import { get, h, moment } from "./dom.js";
import { outbox } from "./outbox.js";

export const id = "jobs";
export const title = "Jobs";
export const icon = "M4 7.5h16v11.5H4zM9 7.5V5h6v2.5M4 12.5h16";
export const optional = true;
export const path = "/jobs";

const STATES = ["", "queued", "done", "failed", "dead"];

export function start({ panel, stream, announce }) {
  let newest = [];
  let filter = "";

  const field = h("input", { id: "jobs-tasks", placeholder: "user42, fact:6, freq:abracadabra", autocomplete: "off", autocapitalize: "off", spellcheck: "false", enterkeyhint: "send" });
  const error = h("p", { class: "problem", role: "alert", hidden: true });
  const form = h(
    "form",
    { class: "line", onsubmit: submit },
    h("label", { class: "unseen", for: "jobs-tasks" }, "Tasks, separated by commas"),
    field,
    h("button", { class: "primary" }, "Send"),
  );
  const sent = ({ ids }) => announce(`${ids.length} sent`);
  const out = outbox({ id, stream, path: "/api/jobs/send", field, fail, sent });
  const depth = h("p", { class: "depth", role: "status" });
  const states = h(
    "select",
    { id: "jobs-state", onchange: choose },
    ...STATES.map((state) => h("option", { value: state }, state || "all states")),
  );
  const rows = h("tbody", {});
  const heading = (text) => h("th", { scope: "col" }, text);
  const table = h(
    "table",
    { class: "jobs", "aria-label": "Jobs" },
    h("thead", {}, h("tr", {}, heading("Task"), heading("State"), heading("Result"), heading("Worker"), heading("Sent"))),
    rows,
  );
  const empty = h("p", { class: "empty", hidden: true }, "No jobs here. Send a task above.");
  const text = h("pre", { tabindex: "0" });
  const whole = h(
    "dialog",
    { class: "whole", "aria-label": "The whole job" },
    text,
    h("form", { method: "dialog" }, h("button", { class: "primary" }, "Close")),
  );
  panel.append(
    h("div", { class: "scroll page" }, form, error, out.element, h("div", { class: "progress" }, depth, h("label", { class: "unseen", for: "jobs-state" }, "State"), states), empty, table),
    whole,
  );

  function submit(event) {
    event.preventDefault();
    const before = field.value;
    if (!before.trim()) return;
    field.value = "";
    out.send({ tasks: [before] }, before);
  }

  function fail(message) {
    error.textContent = message;
    error.hidden = !message;
  }

  function choose() {
    filter = states.value;
    refresh();
  }

  // The stream tells the newest of all; those in one state are asked for.
  async function refresh() {
    const wanted = filter;
    if (!wanted) return draw(newest);
    try {
      const jobs = await get(`/api/jobs?state=${wanted}`);
      if (wanted === filter) draw(jobs);
    } catch (reason) {
      fail(reason.message);
    }
  }

  // Rows that have not changed stay, and with them the focus.
  function draw(jobs) {
    const before = new Map([...rows.children].map((row) => [row.dataset.id, row]));
    const next = jobs.map((job) => {
      const told = JSON.stringify(job);
      const old = before.get(job.id);
      if (old?.told === told) return old;
      const made = row(job);
      made.told = told;
      return made;
    });
    if (next.length !== rows.childElementCount || next.some((row, index) => row !== rows.children[index])) rows.replaceChildren(...next);
    table.hidden = jobs.length === 0;
    empty.hidden = jobs.length > 0;
  }

  function row(job) {
    const outcome = h("td", { class: "outcome" }, job.result ?? job.error ?? "");
    if (job.shortened) outcome.append(" ", h("button", { type: "button", class: "all", onclick: () => show(job.id) }, "Show all"));
    return h(
      "tr",
      { "data-id": job.id, "data-state": job.state },
      h("th", { scope: "row" }, job.task),
      h("td", {}, h("span", { class: "job-state" }, job.state === "queued" && job.error ? "queued, tried again" : job.state)),
      outcome,
      h("td", { class: "worker" }, job.worker ?? ""),
      h("td", { class: "when" }, ...(job.queuedAt ? [moment(new Date(job.queuedAt))] : [])),
    );
  }

  async function show(id) {
    fail("");
    try {
      const job = await get(`/api/jobs?id=${encodeURIComponent(id)}`);
      text.textContent = `${job.task}\n\n${job.result ?? job.error ?? ""}`;
      whole.showModal();
    } catch (reason) {
      fail(reason.message);
    }
  }

  stream.on("jobs", (state) => {
    newest = state.jobs;
    const many = (count, word) => `${count.toLocaleString()} ${word}${count === 1 ? "" : "s"}`;
    depth.textContent = `${state.waiting.toLocaleString()} waiting · ${many(state.consumers, "consumer")} · ${state.dead.toLocaleString()} dead` + (state.retried ? ` · ${state.retried.toLocaleString()} tried again` : "");
    refresh();
  });
}
