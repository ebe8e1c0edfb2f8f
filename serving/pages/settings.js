// The form of the request: merge mode, filters, k, exact or index.

import { categoryNames } from "./catalogue.js";
import { asksForNothing, parseCondition } from "./conditions.js";
import { $, h } from "./dom.js";
import { redraw } from "./redraw.js";
import { DEFAULTS, isPooled } from "./state.js";

const MERGES = [
  ["max_score", "Best score", "Items in the order of their best score with any interest."],
  ["quota", "Quota", "Every interest has its share of the places."],
  ["diversity", "Diverse", "Score against difference of categories."],
  ["new_categories", "New categories", "An item counts more, once, while nothing above it shares a category."],
];

/** A group of radio buttons that looks like one switch. */
function segments(legend, name, choices, value, onChange) {
  return h(
    "fieldset",
    {},
    h("legend", {}, legend),
    h(
      "div",
      { class: "segments" },
      choices.map(([key, text, title]) =>
        h(
          "label",
          { title: title ?? "" },
          h("input", {
            type: "radio",
            name,
            value: key,
            checked: key === value,
            onchange: () => onChange(key),
          }),
          text,
        ),
      ),
    ),
  );
}

function number(id, label, value, { min, max, step, placeholder }, onChange) {
  const input = h("input", {
    id,
    type: "number",
    min,
    max,
    step,
    placeholder: placeholder ?? "",
    value: value ?? "",
    onchange: ({ target }) => {
      const entered = target.valueAsNumber;
      if (Number.isNaN(entered)) onChange(null);
      else onChange(Math.min(max, Math.max(min, entered)));
    },
  });
  return h("div", {}, h("label", { htmlFor: id }, label), input);
}

/**
 * A field that collects texts, with a button for each to take it out.
 *
 * `isUnknown(text)` says which are of nothing, `complaint(text)` what is wrong with one that is
 * not taken.
 */
function collection({ id, label, texts, list, placeholder, isUnknown, title, complaint = () => "" }, onChange) {
  const add = ({ target }) => {
    const text = target.value.trim();
    target.setCustomValidity(text && complaint(text));
    if (!target.reportValidity()) return;
    target.value = "";
    if (text && !texts.includes(text)) onChange([...texts, text]);
  };
  const input = h("input", {
    id,
    type: "text",
    list,
    autocomplete: "off",
    placeholder,
    oninput: ({ target }) => target.setCustomValidity(""),
    onchange: add,
    onkeydown: (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      add(event);
    },
  });
  return h(
    "div",
    {},
    h("label", { htmlFor: id }, label),
    input,
    h(
      "div",
      { class: "chips" },
      texts.map((text) =>
        h(
          "button",
          {
            type: "button",
            class: isUnknown(text) ? "unknown" : "",
            "data-id": text,
            "aria-label": `Remove ${text}`,
            title: isUnknown(text) ? title : "",
            onclick: () => onChange(texts.filter((other) => other !== text)),
          },
          `${text} ×`,
        ),
      ),
    ),
  );
}

const categories = (id, label, names, unknown, onChange) =>
  collection(
    {
      id,
      label,
      texts: names,
      list: "category-names",
      placeholder: "A category",
      isUnknown: (name) => unknown.includes(name),
      title: "No item has this category",
    },
    onChange,
  );

const conditions = (texts, unknown, onChange) =>
  collection(
    {
      id: "where",
      label: "Only where attributes are",
      texts,
      placeholder: "brand: acme | apex, or price: 5..20",
      isUnknown: (text) => asksForNothing(text, unknown),
      title: "No item has this value",
      complaint: (text) =>
        parseCondition(text) ? "" : "An attribute, a colon, and a value or a range: price: 5..20",
    },
    onChange,
  );

function check(id, label, value, onChange) {
  const input = h("input", {
    id,
    type: "checkbox",
    checked: value,
    onchange: ({ target }) => onChange(target.checked),
  });
  return h("div", { class: "check" }, input, h("label", { htmlFor: id }, label));
}

function describe(state) {
  const parts = [`${state.k} items`, MERGES.find(([key]) => key === state.merge)[1].toLowerCase()];
  if (state.exact) parts.push("exact");
  const filters =
    state.only.length + state.never.length + state.where.length + (state.maxPerCategory ? 1 : 0);
  if (filters) parts.push(`${filters} filter${filters > 1 ? "s" : ""}`);
  return parts.join(" · ");
}

/**
 * Draws the form; `change(part)` gets the values that changed, `unknown` are names of no category
 * and values that no item has.
 */
export function showSettings(state, unknown, change) {
  $("settings-summary").textContent = describe(state);
  const diverse = isPooled(state.merge);
  redraw(
    $("form"),
    segments("How the interests’ lists become one", "merge", MERGES, state.merge, (merge) =>
      change({ merge, weights: null }),
    ),
    segments(
      "Search",
      "exact",
      [
        ["index", "Index", "The release’s own index"],
        ["exact", "Exact", "Scores every item"],
      ],
      state.exact ? "exact" : "index",
      (value) => change({ exact: value === "exact" }),
    ),
    h(
      "div",
      { class: "pair" },
      number("k", "Items", state.k, { min: 1, max: 200, step: 1 }, (k) =>
        change({ k: Math.round(k ?? DEFAULTS.k) }),
      ),
      diverse
        ? number("diversity", "Diversity", state.diversity, { min: 0, max: 100, step: 0.05 }, (value) =>
            change({ diversity: value ?? DEFAULTS.diversity }),
          )
        : number(
            "most",
            "Most of a category",
            state.maxPerCategory,
            { min: 1, max: 200, step: 1, placeholder: "no limit" },
            (value) => change({ maxPerCategory: value && Math.round(value) }),
          ),
    ),
    categories("only", "Only with one of these categories", state.only, unknown.categories, (only) =>
      change({ only }),
    ),
    categories("never", "Without these categories", state.never, unknown.categories, (never) =>
      change({ never }),
    ),
    conditions(state.where, unknown.values, (where) => change({ where })),
    check("seen", "Items of the history may come back", state.seen, (seen) => change({ seen })),
    h(
      "datalist",
      { id: "category-names" },
      categoryNames()
        .slice(0, 200)
        .map((name) => h("option", { value: name })),
    ),
  );
}
