// Light or dark: as the system says, until somebody chooses.

import { $ } from "./dom.js";

const KEY = "recall-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // Storage may be forbidden.
  }
}

function apply() {
  const isDark = (stored() ?? (system.matches ? "dark" : "light")) === "dark";
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  $("theme").textContent = isDark ? "Light" : "Dark";
  $("theme").setAttribute("aria-label", isDark ? "Light colours" : "Dark colours");
}

export function followTheme() {
  apply();
  system.addEventListener("change", apply);
  $("theme").addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, next);
      apply();
    } catch {
      document.documentElement.dataset.theme = next;
    }
  });
}
