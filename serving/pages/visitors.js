// Made-up visitors: no history of a real person leaves the training data.
// Each has two tastes: a popular item and one unlike it, with the items most like both.

import { post } from "./api.js";
import { remember } from "./catalogue.js";
import { $, h } from "./dom.js";
import { redraw } from "./redraw.js";

const VISITORS = 4;
const POPULAR = 60;
const OF_EACH = 2;

const shares = (a, b) => a.categories.some((name) => b.categories.includes(name));

/** Pairs of popular items that have no category in common, as far as there are any. */
export function pairs(popular) {
  const left = [...popular];
  const found = [];
  while (found.length < VISITORS && left.length > 1) {
    const first = left.shift();
    let other = left.findIndex((item) => !shares(first, item));
    if (other < 0) other = Math.floor(left.length / 2);
    found.push([first, ...left.splice(other, 1)]);
  }
  return found;
}

export async function showVisitors(onPick) {
  const { items } = await post("recall", { history: [], k: POPULAR, with_metadata: true });
  remember(items);
  const chosen = pairs(items);
  if (!chosen.length) return;
  const requests = chosen
    .flat()
    .map((item) => ({ similar_to: [item.item_id], k: OF_EACH, with_metadata: true }));
  const { responses } = await post("recall", { requests });
  responses.forEach((response) => remember(response.items));
  const like = new Map(chosen.flat().map((item, i) => [item.item_id, responses[i].items]));
  redraw(
    $("visitors"),
    h("p", { class: "hint" }, "Or take a made-up visitor who likes"),
    chosen.map((pair) => {
      const history = pair.flatMap((item) => [...like.get(item.item_id), item]).map((item) => item.item_id);
      const names = pair.map((item) => item.title || item.item_id);
      return h(
        "button",
        { type: "button", title: names.join(" and "), onclick: () => onPick(history) },
        names.join(" & "),
      );
    }),
  );
  $("visitors").hidden = false;
}
