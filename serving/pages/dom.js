// Small helpers for elements. Texts are always set as text, never as HTML.

export const $ = (id) => document.getElementById(id);

/** What an element of `h` may answer. */
export const EVENTS = ["onchange", "onclick", "oninput", "onkeydown", "onmousedown"];

/**
 * An element with properties, data and children; null children are left out.
 *
 * What answers an event takes its element from the event: `redraw` may have kept an older one.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on") && !EVENTS.includes(name)) throw new Error(`${name} is not in EVENTS.`);
    if (name === "class") element.className = value;
    else if (name in element && !name.includes("-") && name !== "list") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...given(children));
  return element;
}

/** Children without those that are left out. */
export const given = (children) =>
  children.flat(Infinity).filter((child) => child !== null && child !== undefined);

export const percent = (share) => `${Math.round(100 * share)} %`;

export const counted = (number, one, many = `${one}s`) =>
  `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

/** Which of the eight colours an interest has. */
export const colour = (interest) => (interest < 0 ? "popular" : `i${interest % 8}`);

/** Interests are counted from 0 in the API and on this page. */
export const badge = (interest) =>
  h(
    "span",
    { class: `badge ${colour(interest)}`, "aria-hidden": "true" },
    interest < 0 ? "★" : `${interest}`,
  );

export const interestName = (interest) => (interest < 0 ? "popular" : `interest ${interest}`);

/** Sets a number that the style sheet uses; inline styles are forbidden by the page's policy. */
export function withShare(element, share) {
  element.style.setProperty("--share", Math.max(0, Math.min(1, share)).toFixed(4));
  return element;
}

/** Calls when nobody has asked for it again for a while; `cancel` takes it back. */
export function debounce(milliseconds, call) {
  let timer;
  const soon = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...values), milliseconds);
  };
  soon.cancel = () => clearTimeout(timer);
  return soon;
}
