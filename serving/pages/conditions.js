// Conditions on attributes: what somebody types, and what a request says.

/** A number only where it is written as one: `7` but not `007`, which is a name. */
const value = (text) => {
  if (/^".*"$/.test(text)) return text.slice(1, -1);
  return text !== "" && String(Number(text)) === text ? Number(text) : text;
};

/**
 * `shop: north | south` or `price: 5..20` -> the attribute and its condition; null is none.
 * A range may lack an end, and a value may stand in quotation marks.
 */
export function parseCondition(text) {
  const colon = text.indexOf(":");
  const attribute = text.slice(0, colon).trim();
  const said = text.slice(colon + 1).trim();
  if (colon < 1 || !attribute || !said) return null;
  const range = said.split("..").map((end) => end.trim());
  if (range.length === 2 && (range[0] || range[1])) {
    const ends = { ...(range[0] && { min: value(range[0]) }), ...(range[1] && { max: value(range[1]) }) };
    return [attribute, ends];
  }
  const values = said
    .split("|")
    .map((one) => value(one.trim()))
    .filter((one) => one !== "");
  if (!values.length) return null;
  return [attribute, values.length === 1 ? values[0] : values];
}

/** `where` of a request: of two conditions on one attribute the later one. */
export const whereOf = (texts) => Object.fromEntries(texts.map(parseCondition).filter(Boolean));

/** Whether a condition asks for nothing but names that no item has, as an answer says it. */
export function asksForNothing(text, unknown) {
  const [attribute, condition] = parseCondition(text) ?? [];
  const names = new Set(unknown.filter((one) => one.attribute === attribute).map((one) => one.value));
  return names.size > 0 && [condition].flat().every((one) => names.has(String(one)));
}
