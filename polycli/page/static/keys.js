// The keyboard: one letter for each thing that a mouse can do.

import { byId } from "/static/format.js";

export function keys({ page, listed, again, exportList }) {
  const cards = () => [...byId("cards").querySelectorAll("[data-row]")];
  const current = () => document.activeElement?.closest?.("[data-row]");

  function step(event) {
    const all = cards();
    if (!all.length) return;
    const at = all.indexOf(current());
    const columns = Math.max(1, getComputedStyle(byId("cards")).gridTemplateColumns.split(" ").length);
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    const next = at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1);
    all.forEach((card) => (card.tabIndex = -1));
    all[next].tabIndex = 0;
    all[next].focus();
    event.preventDefault();
  }

  const simple = {
    "/": () => { byId("query").focus(); byId("query").select(); },
    "?": () => byId("help").showModal(),
    a: again,
    e: exportList,
    f: () => { byId("filters").open = true; byId("where").focus(); },
    m: () => byId("map").focus({ focusVisible: true }),
    l: () => byId("lasso").click(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      document.querySelectorAll("details[open]").forEach((open) => { open.open = false; open.querySelector("summary").focus(); });
      return;
    }
    if (document.querySelector("dialog[open]")) return;
    const target = event.target;
    if (target.matches("input:not([type=radio], [type=checkbox]), select, textarea")) return;
    if (event.key.startsWith("Arrow") && !target.matches("input, #map")) {
      if (current() || target === document.body || target.id === "results") step(event);
      return;
    }
    const card = current();
    const object = card && listed().find(({ row }) => row === Number(card.dataset.row));
    if (object && ["g", "b", "s"].includes(event.key)) {
      if (event.key === "s") page.searchFrom(object);
      else page.mark(object, event.key === "g" ? "good" : "bad");
    } else if (object && event.key === "Enter" && target === card) {
      page.details(object);
    } else if (simple[event.key]) {
      simple[event.key]();
    } else {
      return;
    }
    event.preventDefault();
  });
}
