// One item in a dialog: what is known of it, and what is like it.

import { post } from "./api.js";
import { known, remember, titleOf } from "./catalogue.js";
import { $, counted, h } from "./dom.js";

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

/** Opens the dialog for an item. */
export async function openItem(id, { onAdd, history }) {
  const dialog = $("details");
  const list = h("ol", {});
  const show = () => {
    const item = known(id);
    dialog.replaceChildren(
      h("h2", { id: "details-title" }, item.title || id),
      facts(item),
      h(
        "div",
        { class: "actions" },
        h(
          "button",
          {
            type: "button",
            disabled: history.includes(id) || !item.is_served,
            onclick: () => {
              dialog.close();
              onAdd(id);
            },
          },
          "Add to the history",
        ),
        h("button", { type: "button", onclick: () => dialog.close() }, "Close"),
      ),
      list,
    );
  };
  show();
  if (!dialog.open) dialog.showModal();
  try {
    const { items } = await post("items:lookup", { ids: [id] });
    remember(items);
    show();
    if (!items[0].is_served) return;
    const similar = await post("recall", { similar_to: [id], k: SIMILAR, with_metadata: true });
    remember(similar.items);
    list.before(h("h3", {}, "Items like it"));
    list.replaceChildren(
      ...similar.items.map((item) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", class: "name", onclick: () => openItem(item.item_id, { onAdd, history }) },
            titleOf(item.item_id),
          ),
        ),
      ),
    );
  } catch (error) {
    list.replaceChildren(h("li", { class: "hint" }, error.message));
  }
}
