// The search field: a combobox whose list comes from `POST /items:search`.

import { post } from "./api.js";
import { $, counted, debounce, h } from "./dom.js";

const WAIT_MS = 120;
const FOUND = 8;

/** `onPick(item)` gets the chosen item; `onLast()` is Backspace in the empty field. */
export function createSearch({ onPick, onLast }) {
  const input = $("search");
  const list = $("found");
  const status = $("search-status");
  let items = [];
  let active = -1;
  let running = null;

  const close = () => {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };

  const mark = (place) => {
    active = place;
    [...list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === active)));
    if (active < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", list.children[active].id);
      list.children[active].scrollIntoView({ block: "nearest" });
    }
  };

  const pick = (place) => {
    const item = items[place];
    if (!item) return;
    input.value = "";
    status.textContent = "";
    close();
    onPick(item);
  };

  const show = (text, found) => {
    items = found.items;
    list.replaceChildren(
      ...items.map((item, place) =>
        h(
          "li",
          {
            id: `found-${place}`,
            role: "option",
            "aria-selected": "false",
            onmousedown: (event) => event.preventDefault(),
            onclick: () => pick(place),
          },
          item.title || item.item_id,
          h(
            "span",
            { class: "meta" },
            [item.title ? item.item_id : null, ...item.categories].filter(Boolean).join(" · "),
          ),
        ),
      ),
    );
    list.hidden = !items.length;
    input.setAttribute("aria-expanded", String(items.length > 0));
    mark(items.length ? 0 : -1);
    if (items.length)
      status.textContent = counted(items.length, "item") + " found; arrow keys to choose, Enter to add.";
    else status.textContent = found.is_complete ? `No item has “${text}” in its title or id.` : "Searching…";
  };

  const search = debounce(WAIT_MS, async () => {
    const text = input.value.trim();
    running?.abort();
    if (!text) {
      status.textContent = "";
      items = [];
      close();
      return;
    }
    running = new AbortController();
    const { signal } = running;
    try {
      let found;
      do {
        // A large catalogue is read in steps: every search looks further.
        found = await post("items:search", { query: text.slice(0, 256), k: FOUND }, signal);
        show(text, found);
      } while (!found.is_complete && found.items.length < FOUND && !signal.aborted);
    } catch (error) {
      if (signal.aborted) return;
      close();
      status.textContent = error.message;
    }
  });

  input.addEventListener("input", search);
  input.addEventListener("blur", close);
  input.addEventListener("focus", () => input.value && search());
  input.addEventListener("keydown", (event) => {
    const last = items.length - 1;
    if (event.key === "Backspace" && !input.value) onLast();
    else if (event.key === "Escape") {
      if (list.hidden) input.value = "";
      close();
    } else if (list.hidden) return;
    else if (event.key === "ArrowDown") mark(active >= last ? 0 : active + 1);
    else if (event.key === "ArrowUp") mark(active <= 0 ? last : active - 1);
    else if (event.key === "Enter") pick(active);
    else return;
    if (event.key !== "Backspace") event.preventDefault();
  });

  document.addEventListener("keydown", (event) => {
    const inField = event.target.closest?.("input, select, textarea, dialog");
    if (event.key === "/" && !inField && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      input.focus();
    }
  });
}
