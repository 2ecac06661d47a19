// The to-do list that everybody shares. A task cannot be reopened: the service
// knows adding and completing.

import { h, post } from "./dom.js";
import { outbox } from "./outbox.js";

export const id = "todo";
export const title = "To-do";
export const icon = "M4 6.5l1.5 1.5L8.5 5M4 15.5l1.5 1.5 3-3M12 6.5h8M12 15.5h8";

/** So many of each list are shown at first; "more" shows so many more. */
const SHOWN = 200;

export function start({ panel, stream, announce }) {
  /** By id, which is the order of adding. */
  const tasks = new Map();
  const lists = { open: group("open"), done: group("done") };
  let open = 0;
  /** The list has come. */
  let known = false;

  const field = h("input", { id: "todo-title", placeholder: "What is to be done?", maxlength: "1024", autocomplete: "off", enterkeyhint: "done" });
  const error = h("p", { class: "problem", role: "alert", hidden: true });
  const form = h(
    "form",
    { class: "line", onsubmit: submit },
    h("label", { class: "unseen", for: "todo-title" }, "Title of a new task"),
    field,
    h("button", { class: "primary" }, "Add"),
  );
  const out = outbox({ id, stream, path: "/api/tasks", field, fail });
  const meter = h("div", { class: "meter", "aria-hidden": "true" }, h("span"));
  const count = h("p", { class: "count" });
  const empty = h("p", { class: "empty" }, "Nothing to do. Add the first task above.");
  const doneTitle = h("h2", {}, "Completed");
  panel.append(
    h("div", { class: "scroll page" }, form, error, out.element, h("div", { class: "progress" }, count, meter), empty, lists.open.element, doneTitle, lists.done.element),
  );
  show();

  function group(kind) {
    const list = h("ul", { class: `tasks ${kind}`, "aria-label": kind === "open" ? "Open tasks" : "Completed tasks" });
    const more = h("button", { type: "button", class: "more", hidden: true });
    const self = { list, more, limit: SHOWN, element: h("div", {}, list, more) };
    more.addEventListener("click", () => {
      self.limit += SHOWN;
      redraw();
    });
    return self;
  }

  function submit(event) {
    event.preventDefault();
    const text = field.value.trim();
    if (!text) return;
    field.value = "";
    out.send({ title: text }, text);
  }

  // The box stays enabled meanwhile: a disabled one would lose the focus.
  function complete(task, box) {
    const again = !box.checked;
    box.checked = true;
    if (again) return;
    fail("");
    post("/api/tasks/complete", { id: task.id }).catch((reason) => {
      box.checked = false;
      fail(reason.message);
    });
  }

  function fail(message) {
    error.textContent = message;
    error.hidden = !message;
  }

  function row(task) {
    const box = h("input", {
      type: "checkbox",
      checked: task.completed,
      disabled: task.completed,
      onchange: () => complete(task, box),
    });
    return h(
      "li",
      { "data-id": task.id },
      h("label", {}, box, h("span", { class: "title" }, task.title), h("span", { class: "number" }, `#${task.id}`)),
    );
  }

  // Ids rise, so a change adds one row or moves one; the rest stays as it is,
  // and with it the focus. Returns whether it was news.
  function change(task) {
    const before = tasks.get(task.id);
    if (before?.completed || (before && !task.completed)) return false;
    tasks.set(task.id, task);
    if (task.completed) {
      const old = lists.open.list.querySelector(`[data-id="${task.id}"]`);
      const focused = old?.contains(document.activeElement);
      const next = (old?.nextElementSibling ?? old?.previousElementSibling)?.querySelector("input");
      old?.remove();
      // The newest id first, so that all pages show the same order.
      const older = [...lists.done.list.children].find((row) => Number(row.dataset.id) < task.id);
      if (older || lists.done.list.childElementCount < lists.done.limit) lists.done.list.insertBefore(row(task), older ?? null);
      if (focused) (next ?? field).focus();
      if (before) open -= 1;
    } else {
      open += 1;
      if (lists.open.list.childElementCount < lists.open.limit) lists.open.list.append(row(task));
    }
    show();
    return true;
  }

  function redraw() {
    const all = [...tasks.values()];
    const some = (which, { list, limit }) => list.replaceChildren(...which.slice(0, limit).map(row));
    some(all.filter((task) => !task.completed), lists.open);
    some(all.filter((task) => task.completed).reverse(), lists.done);
    show();
  }

  function show() {
    const done = tasks.size - open;
    count.textContent = `${done.toLocaleString()} of ${tasks.size.toLocaleString()} done`;
    meter.firstChild.style.width = `${tasks.size ? (100 * done) / tasks.size : 0}%`;
    count.parentElement.hidden = tasks.size === 0;
    empty.hidden = !known || tasks.size > 0;
    doneTitle.hidden = done === 0;
    for (const [group, total] of [[lists.open, open], [lists.done, done]]) {
      const left = total - group.list.childElementCount;
      group.more.hidden = left <= 0;
      group.more.textContent = `Show more (${left.toLocaleString()} left)`;
    }
  }

  stream.on("tasks", (all) => {
    known = true;
    tasks.clear();
    for (const task of all.tasks) tasks.set(task.id, task);
    open = all.tasks.filter((task) => !task.completed).length;
    redraw();
  });

  stream.on("task", ({ task, action }) => {
    if (action !== "COMPLETED") out.arrived({ title: task.title });
    if (!change(task)) return;
    announce(`${action === "COMPLETED" ? "Completed" : "Added"}: ${task.title}`);
  });
}
