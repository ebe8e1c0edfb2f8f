// What is known of items so far: every answer tells more.

import { post } from "./api.js";

const items = new Map();
const categories = new Map();

const ASKED_AT_ONCE = 200;

/** Keeps what an answer says of its items. */
export function remember(list) {
  for (const item of list) {
    if (!items.has(item.item_id))
      (item.categories ?? []).forEach((name) => categories.set(name, (categories.get(name) ?? 0) + 1));
    items.set(item.item_id, { is_served: true, ...items.get(item.item_id), ...item });
  }
}

/** Asks for those of some ids that nothing is known of. */
export async function learn(ids, signal) {
  const missing = [...new Set(ids)].filter((id) => !items.has(id)).slice(0, ASKED_AT_ONCE);
  if (!missing.length) return;
  const answer = await post("items:lookup", { ids: missing }, signal);
  remember(answer.items);
}

export const known = (id) => items.get(id) ?? { item_id: id, title: "", categories: [], is_served: true };

export const titleOf = (id) => known(id).title || id;

/** Names of the categories seen so far, the most frequent first. */
export const categoryNames = () => [...categories].sort((a, b) => b[1] - a[1]).map(([name]) => name);
