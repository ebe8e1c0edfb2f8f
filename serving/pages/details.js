// One item in a dialog: what is known of it, and what is like it.

import { post } from "./api.js";
import { known, remember, titleOf } from "./catalogue.js";
import { $, counted, h } from "./dom.js";
import { redraw } from "./redraw.js";

const SIMILAR = 5;

function facts(item) {
  const rows = [["Id", item.item_id]];
  if (item.categories?.length) rows.push(["Categories", item.categories.join(", ")]);
  if (item.num_clicks !== undefined) rows.push(["Clicks", counted(item.num_clicks, "click") + " in the log"]);
  if (item.in_release !== undefined) {
    const origin = item.in_release ? "Part of the release" : "Came after the release";
    rows.push([
      "State",
      item.is_served ? `${origin}, served` : item.in_release ? "Deleted" : "Not known here",
    ]);
  }
  return h(
    "dl",
    {},
    rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
}

/** The item that the dialog is about, and what it was opened with; another one for every opening. */
let opened = null;

/** Opens the dialog for an item. */
export async function openItem(id, options) {
  const mine = { id, ...options };
  opened = mine;
  const isLate = () => opened !== mine || !$("details").open;
  draw(mine);
  if (!$("details").open) $("details").showModal();
  try {
    const { items } = await post("items:lookup", { ids: [id] });
    remember(items);
    if (isLate()) return;
    draw(mine);
    if (!items[0].is_served) return;
    const similar = await post("recall", { similar_to: [id], k: SIMILAR, with_metadata: true });
    remember(similar.items);
    if (!isLate()) draw(mine, { similar: similar.items });
  } catch (error) {
    if (!isLate()) draw(mine, { problem: error.message });
  }
}

function draw({ id, onAdd, history }, { similar = [], problem = null } = {}) {
  const item = known(id);
  const add = () => {
    $("details").close();
    onAdd(id);
  };
  const isAddable = item.is_served && !history.includes(id);
  redraw(
    $("details"),
    h("h2", { id: "details-title" }, item.title || id),
    facts(item),
    h(
      "div",
      { class: "actions" },
      h("button", { type: "button", disabled: !isAddable, onclick: add }, "Add to the history"),
      h("button", { type: "button", onclick: () => $("details").close() }, "Close"),
    ),
    similar.length ? h("h3", {}, "Items like it") : null,
    h(
      "ol",
      {},
      similar.map(({ item_id }) => {
        const open = () => openItem(item_id, { onAdd, history });
        return h("li", {}, h("button", { type: "button", class: "name", onclick: open }, titleOf(item_id)));
      }),
      problem ? h("li", { class: "hint" }, problem) : null,
    ),
  );
}
