// Light, dark, or as the system has it; remembered by this browser.

import { byId } from "/static/format.js";

const NAMES = ["auto", "light", "dark"];
const dark = window.matchMedia("(prefers-color-scheme: dark)");

export function startTheme(changed) {
  let chosen = NAMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto";
  const apply = () => {
    const root = document.documentElement;
    if (chosen === "auto") root.removeAttribute("data-theme");
    else root.dataset.theme = chosen;
    root.dataset.shade = chosen === "dark" || (chosen === "auto" && dark.matches) ? "dark" : "light";
    byId("theme").textContent = `Theme: ${chosen}`;
    changed();
  };
  byId("theme").addEventListener("click", () => {
    chosen = NAMES[(NAMES.indexOf(chosen) + 1) % NAMES.length];
    localStorage.setItem("theme", chosen);
    apply();
  });
  dark.addEventListener("change", apply);
  apply();
}
