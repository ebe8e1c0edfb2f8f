// The search field: a combobox whose list comes from `POST /items:search`.

import { post } from "./api.js";
import { $, counted, debounce, h } from "./dom.js";
import { redraw } from "./redraw.js";

const WAIT_MS = 120;
const FOUND = 8;

/** `onPick(item)` gets the chosen item; `onLast()` is Backspace in the empty field. */
export function createSearch({ onPick, onLast }) {
  const input = $("search");
  const list = $("found");
  const status = $("search-status");
  let items = [];
  let active = -1;
  let isChosen = false; // By the arrow keys, for this text.
  let shown = ""; // What the list was found for.
  let running = null;

  const close = () => {
    search.cancel();
    if (running) status.textContent = "";
    running?.abort(); // An answer that comes late must not open the list again.
    running = null;
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

  const choose = (place) => {
    isChosen = true;
    mark(place);
  };

  const pick = (item) => {
    if (!item) return;
    input.value = "";
    status.textContent = "";
    close();
    onPick(item);
  };

  const show = (text, found) => {
    const chosen = isChosen ? items[active]?.item_id : null;
    items = found.items;
    shown = text;
    redraw(
      list,
      items.map((item, place) =>
        h(
          "li",
          {
            id: `found-${place}`,
            "data-id": item.item_id,
            role: "option",
            "aria-selected": "false",
            onmousedown: (event) => event.preventDefault(),
            onclick: () => pick(item),
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
    const again = items.findIndex((item) => item.item_id === chosen);
    mark(again >= 0 ? again : items.length ? 0 : -1);
    if (items.length)
      status.textContent = counted(items.length, "item") + " found; arrow keys to choose, Enter to add.";
    else status.textContent = found.is_complete ? `No item has “${text}” in its title or id.` : "Searching…";
  };

  const search = debounce(WAIT_MS, async () => {
    const text = input.value.trim();
    if (!text) {
      status.textContent = "";
      items = [];
      close();
      return;
    }
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    try {
      let found;
      do {
        // A large catalogue is read in steps: every search looks further.
        found = await post("items:search", { query: text.slice(0, 256), k: FOUND }, signal);
        show(text, found);
      } while (!found.is_complete && found.items.length < FOUND && !signal.aborted);
      if (!signal.aborted) running = null;
    } catch (error) {
      if (signal.aborted) return;
      close();
      status.textContent = error.message;
    }
  });

  input.addEventListener("input", () => {
    isChosen = false;
    search();
  });
  input.addEventListener("blur", close);
  input.addEventListener("focus", () => input.value && search());
  input.addEventListener("keydown", (event) => {
    const last = items.length - 1;
    if (event.key === "Backspace" && !input.value) onLast();
    else if (event.key === "Escape") {
      if (list.hidden) input.value = "";
      close();
    } else if (list.hidden) return;
    else if (event.key === "ArrowDown") choose(active >= last ? 0 : active + 1);
    else if (event.key === "ArrowUp") choose(active <= 0 ? last : active - 1);
    else if (event.key === "Enter" && shown === input.value.trim()) pick(items[active]);
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
