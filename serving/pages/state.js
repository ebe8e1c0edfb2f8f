// What the page shows, and its form in the address after the #, which no server ever sees.

import { parseCondition, whereOf } from "./conditions.js";

export const DEFAULTS = Object.freeze({
  history: [],
  k: 20,
  merge: "max_score",
  diversity: 0.1,
  weights: null,
  only: [],
  never: [],
  where: [],
  maxPerCategory: null,
  exact: false,
  seen: false,
});

const MERGES = ["max_score", "quota", "diversity", "new_categories"];

/** Those that pick from more items than are wanted, and have a weight for it. */
export const isPooled = (merge) => merge === "diversity" || merge === "new_categories";

const whole = (text, most) => {
  const number = Number.parseInt(text, 10);
  return number >= 1 && number <= most ? number : null;
};

const positive = (text) => {
  const number = Number.parseFloat(text);
  return number >= 0 && Number.isFinite(number) ? number : null;
};

/** Reads an address; what makes no sense is passed over. */
export function parse(hash) {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  const weights = values.has("w") ? values.get("w").split(",").map(positive) : null;
  return {
    history: values.getAll("h").filter(Boolean).slice(0, 200),
    k: whole(values.get("k"), 200) ?? DEFAULTS.k,
    merge: MERGES.includes(values.get("merge")) ? values.get("merge") : DEFAULTS.merge,
    diversity: positive(values.get("lambda")) ?? DEFAULTS.diversity,
    weights: weights?.every((weight) => weight !== null) ? weights : null,
    only: values.getAll("only").filter(Boolean),
    never: values.getAll("never").filter(Boolean),
    where: values.getAll("where").filter(parseCondition),
    maxPerCategory: whole(values.get("most"), 200),
    exact: values.get("exact") === "1",
    seen: values.get("seen") === "1",
  };
}

/** The address of a state; what is as by default is left out. */
export function format(state) {
  const values = new URLSearchParams();
  state.history.forEach((id) => values.append("h", id));
  if (state.k !== DEFAULTS.k) values.set("k", state.k);
  if (state.merge !== DEFAULTS.merge) values.set("merge", state.merge);
  if (state.diversity !== DEFAULTS.diversity) values.set("lambda", state.diversity);
  if (state.weights) values.set("w", state.weights.join(","));
  state.only.forEach((name) => values.append("only", name));
  state.never.forEach((name) => values.append("never", name));
  state.where.forEach((text) => values.append("where", text));
  if (state.maxPerCategory) values.set("most", state.maxPerCategory);
  if (state.exact) values.set("exact", "1");
  if (state.seen) values.set("seen", "1");
  const text = values.toString();
  return text ? `#${text}` : "";
}

/** The body of `POST /recall` for a state. */
export function request(state) {
  const body = { history: state.history, k: state.k, with_metadata: true, with_interests: true };
  if (state.merge !== DEFAULTS.merge) body.merge = state.merge;
  if (isPooled(state.merge)) body.diversity_weight = state.diversity;
  if (state.weights?.some((weight) => weight > 0)) body.interest_weights = state.weights;
  if (state.only.length) body.categories = state.only;
  if (state.never.length) body.exclude_categories = state.never;
  if (state.where.length) body.where = whereOf(state.where);
  if (state.maxPerCategory && !isPooled(state.merge)) body.max_per_category = state.maxPerCategory;
  if (state.exact) body.exact = true;
  if (state.seen) body.include_seen = true;
  return body;
}
