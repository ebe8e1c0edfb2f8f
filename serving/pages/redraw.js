// What is on the page becomes what it should be, around the person who uses it: elements that stay are
// kept, so an answer takes away no focus, no caret, no half-typed text and no slider that is being dragged.

import { EVENTS, given } from "./dom.js";

const CONTROLS = "a[href], button, input, summary";

/** Fields with a value that a person has begun and not yet settled. */
const begun = new WeakSet();

addEventListener("input", ({ target }) => begun.add(target), true);
for (const end of ["change", "focusout"]) addEventListener(end, ({ target }) => begun.delete(target), true);

/**
 * Makes the children of an element like the given ones.
 *
 * An old child stays where a new one has its tag and its `data-id` or `id`, or, without these, its place
 * among those of its tag; it takes the new one's properties. Focus stays with it, wherever it goes. Where
 * the focused child is gone, focus goes to what now has its place.
 */
export function redraw(parent, ...children) {
  const focused = isInside(parent, document.activeElement) ? document.activeElement : null;
  const place = focused && placeOf(parent, focused);
  const old = byKey([...parent.childNodes]);
  const wanted = [...byKey(given(children).map(asNode))].map(([key, node]) => {
    const kept = old.get(key);
    old.delete(key);
    return kept ? become(kept, node) : node;
  });
  old.forEach((node) => node.remove());
  arrange(parent, wanted, focused);
  const now = document.activeElement;
  if (focused && (!isInside(parent, now) || now.disabled)) focusNear(parent, place);
}

const isInside = (parent, element) => parent !== element && parent.contains(element);

const asNode = (child) => (child instanceof Node ? child : document.createTextNode(child));

/** Nodes by what tells them from their siblings. */
function byKey(nodes) {
  const counts = new Map();
  return new Map(
    nodes.map((node) => {
      const name = `${node.nodeName} ${node.dataset?.id ?? node.id ?? ""}`;
      counts.set(name, (counts.get(name) ?? 0) + 1);
      return [`${name} ${counts.get(name)}`, node];
    }),
  );
}

/** Gives an old node all that a new one of its kind has. */
function become(old, node) {
  if (!(old instanceof Element)) {
    if (old.data !== node.data) old.data = node.data;
    return old;
  }
  for (const { name } of [...old.attributes])
    if (name !== "style" && !node.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of node.attributes)
    if (name !== "style" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  // The page's policy forbids the attribute, not the property.
  if (old.style.cssText !== node.style.cssText) old.style.cssText = node.style.cssText;
  for (const event of EVENTS) old[event] = node[event];
  if (old instanceof HTMLInputElement) fill(old, node);
  redraw(old, ...node.childNodes);
  return old;
}

/** Gives a field its value, unless a person is at work on it. */
function fill(field, { checked, value }) {
  field.checked = checked;
  const isInUse = field === document.activeElement && begun.has(field);
  if (!isInUse && field.value !== value) field.value = value;
}

/** Puts children into their order, around the one with the focus: to move it would take the focus. */
function arrange(parent, wanted, focused) {
  let next = parent.firstChild;
  for (const node of wanted) {
    if (focused && node.contains(focused)) while (next !== node) next = sendLast(parent, next);
    if (next === node) next = node.nextSibling;
    else parent.insertBefore(node, next);
  }
}

function sendLast(parent, node) {
  const { nextSibling } = node;
  parent.append(node);
  return nextSibling;
}

/** Which child of a parent an element is in, and which of its controls it is. */
function placeOf(parent, element) {
  const child = [...parent.children].findIndex((one) => one.contains(element));
  return { child, control: [...parent.children[child].querySelectorAll(CONTROLS)].indexOf(element) };
}

function focusNear(parent, { child, control }) {
  const now = parent.children[Math.min(child, parent.children.length - 1)];
  const controls = now ? [now, ...now.querySelectorAll(CONTROLS)] : [];
  const usable = controls.filter((one) => one.matches(CONTROLS) && !one.disabled);
  usable[Math.min(Math.max(control, 0), usable.length - 1)]?.focus();
}
