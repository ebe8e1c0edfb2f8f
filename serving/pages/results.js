// The interests and the merged list.

import { titleOf } from "./catalogue.js";
import { $, badge, colour, counted, h, interestName, percent, withShare } from "./dom.js";
import { redraw } from "./redraw.js";

const SHOWN_OF_INTEREST = 5;

const nameButton = (id, onOpen) =>
  h("button", { type: "button", class: "name", title: titleOf(id), onclick: () => onOpen(id) }, titleOf(id));

/** How many items of an answer each interest gave. */
export function countByInterest(items, numInterests) {
  const counts = new Array(numInterests).fill(0);
  items.forEach((item) => {
    if (item.interest >= 0) counts[item.interest] += 1;
  });
  return counts;
}

/** The weights that the sliders stand at. */
export function shownWeights(state, answer) {
  const own = answer.interest_weights;
  if (state.weights?.length === own.length) return state.weights;
  return state.merge === "quota" ? own.map((weight) => Number(weight.toFixed(2))) : own.map(() => 1);
}

/** Draws one card per interest; `lists` are the answers of each alone, null until they came. */
export function showInterests(state, answer, lists, { onWeight, onOpen }) {
  const weights = shownWeights(state, answer);
  $("interests-section").hidden = !weights.length;
  $("even").hidden = !state.weights;
  const counts = countByInterest(answer.items, weights.length);
  const cards = weights.map((weight, interest) => {
    const found = lists?.[interest]?.items ?? [];
    const max = state.merge === "quota" ? 1 : 2;
    const id = `weight-${interest}`;
    const slider = h("input", {
      id,
      type: "range",
      min: 0,
      max,
      step: 0.05,
      value: weight,
      "aria-label": `Weight of interest ${interest}`,
      oninput: ({ target }) => {
        $(`${id}-text`).textContent = target.valueAsNumber.toFixed(2);
        onWeight(interest, target.valueAsNumber);
      },
    });
    return h(
      "article",
      {
        class: `card ${colour(interest)}${weight > 0 ? "" : " off"}`,
        "aria-labelledby": `interest-${interest}`,
      },
      h(
        "h3",
        { id: `interest-${interest}` },
        badge(interest),
        `Interest ${interest}`,
        h(
          "span",
          { class: "weight", title: "The model’s weight of this interest" },
          percent(answer.interest_weights[interest]),
        ),
      ),
      h("p", { class: "hint" }, `${counts[interest]} of ${answer.items.length} places`),
      h(
        "ol",
        { "aria-label": `What interest ${interest} recalls` },
        found.slice(0, SHOWN_OF_INTEREST).map((item) => h("li", {}, nameButton(item.item_id, onOpen))),
      ),
      h(
        "label",
        { htmlFor: id },
        state.merge === "quota" ? "Share" : "Weight",
        h("span", { id: `${id}-text` }, weight.toFixed(2)),
      ),
      slider,
    );
  });
  redraw($("interests"), cards);
}

/** Where scores start and end on the bars: the best fills one, the last still shows. */
function scale(items) {
  const scores = items.map((item) => item.score);
  const best = Math.max(...scores);
  const span = best - Math.min(...scores) || Math.abs(best) || 1;
  return (score) => 0.12 + 0.88 * ((score - best) / span + 1);
}

/** Draws the merged list; `missing` are ids that the other kind of search did not find. */
export function showItems(answer, missing, { onAdd, onOpen, history }) {
  const share = scale(answer.items);
  $("answer-title").textContent = answer.is_fallback ? "Popular items" : "Recommended";
  redraw(
    $("ribbon"),
    answer.is_fallback ? [] : answer.items.map((item) => h("span", { class: colour(item.interest) })),
  );
  redraw(
    $("items"),
    answer.items.map((item, place) => {
      const id = item.item_id;
      const seen = history.includes(id);
      return h(
        "li",
        { class: colour(item.interest), "data-id": id },
        h("span", { class: "place" }, `${place + 1}`),
        badge(item.interest),
        h(
          "div",
          {},
          h(
            "button",
            { type: "button", class: "name", onclick: () => onOpen(id), title: titleOf(id) },
            titleOf(id),
            missing?.has(id) ? h("span", { class: "mark" }, "only here") : null,
          ),
          h("span", { class: "meta" }, item.categories.join(" · ") || id),
        ),
        h(
          "span",
          { class: "score" },
          answer.is_fallback
            ? ""
            : [
                item.score.toFixed(3),
                h("span", { class: "track" }, withShare(h("span", { class: "bar" }), share(item.score))),
              ],
        ),
        h(
          "button",
          {
            type: "button",
            class: "icon add",
            disabled: seen,
            "aria-label": `Add ${titleOf(id)} to the history`,
            title: "Add to the history",
            onclick: () => onAdd(id),
          },
          "+",
        ),
      );
    }),
  );
}

/** Words about an answer. */
export const describe = (state, answer) =>
  [
    describeItems(state, answer),
    describeUnknown(answer.unknown_categories ?? []),
    describeValues(answer.unknown_values ?? []),
  ]
    .filter(Boolean)
    .join(" ");

function describeUnknown(categories) {
  const names = categories.map((name) => `“${name}”`).join(", ");
  return names && `${names} ${categories.length > 1 ? "are no categories" : "is no category"} of these items.`;
}

function describeValues(values) {
  const names = values.map(({ attribute, value }) => `the ${attribute} “${value}”`).join(", ");
  return names && `No item has ${names}.`;
}

function describeItems(state, answer) {
  if (!answer.items.length) return "No item passes the filters.";
  const number = counted(answer.items.length, "item");
  if (answer.is_fallback) {
    return state.history.length
      ? `None of the history’s items is known: these are ${number} that are popular.`
      : "Nothing is known of the visitor yet. Add an item, or take a made-up visitor.";
  }
  const counts = countByInterest(answer.items, answer.interest_weights.length);
  const parts = counts
    .map((count, interest) => (count ? `${count} by ${interestName(interest)}` : null))
    .filter(Boolean);
  const unknown = answer.num_unknown
    ? ` ${counted(answer.num_unknown, "item")} of the history ${answer.num_unknown > 1 ? "are" : "is"} not known.`
    : "";
  const late = answer.degraded ? " The time was too short: the list may lack items." : "";
  return `${number}: ${parts.join(", ")}.${unknown}${late}`;
}
