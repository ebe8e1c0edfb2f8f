// The API as a page: every call of /openapi.json with its fields, answers and an example.

import { get } from "./api.js";
import { $, h } from "./dom.js";
import { redraw } from "./redraw.js";
import { followTheme } from "./theme.js";

let api;

/** Follows a reference into the document. */
function resolve(schema) {
  if (!schema?.$ref) return schema ?? {};
  return resolve(
    schema.$ref
      .slice(2)
      .split("/")
      .reduce((part, key) => part[key], api),
  );
}

const nameOf = (schema) => schema?.$ref?.split("/").at(-1);

/** The type and the bounds of a value, in words. */
function typeOf(schema) {
  const value = resolve(schema);
  if (value.enum) return value.enum.map((one) => JSON.stringify(one)).join(" or ");
  if (value.oneOf && !value.type) return value.oneOf.map(typeOf).join(" or ");
  const type = [value.type ?? "any"]
    .flat()
    .filter((one) => one !== "null")
    .join(" or ");
  if (type !== "array") return nameOf(schema) ?? type;
  return `list of ${typeOf(value.items ?? {})}`;
}

function bounds(schema) {
  const value = resolve(schema);
  const parts = [];
  const low = value.minimum ?? value.exclusiveMinimum;
  if (low !== undefined) parts.push(`${value.minimum === undefined ? ">" : "≥"} ${low}`);
  if (value.maximum !== undefined) parts.push(`≤ ${value.maximum.toLocaleString("en")}`);
  if (value.maxItems !== undefined) parts.push(`at most ${value.maxItems.toLocaleString("en")}`);
  if (value.maxLength !== undefined) parts.push(`at most ${value.maxLength.toLocaleString("en")} characters`);
  if (value.default !== undefined) parts.push(`default ${JSON.stringify(value.default)}`);
  return parts.join(", ");
}

/** A text whose parts in backticks are code. */
const prose = (text) => text.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));

function row(name, schema, isRequired) {
  const limits = bounds(schema);
  return h(
    "tr",
    {},
    h(
      "th",
      { scope: "row" },
      h("code", {}, name),
      h("span", { class: "type" }, typeOf(schema) + (isRequired ? ", required" : "")),
    ),
    h(
      "td",
      {},
      prose(resolve(schema).description ?? ""),
      limits ? h("span", { class: "type" }, limits) : null,
    ),
  );
}

/** The fields of an object, and those of the objects in its lists; one table each. */
function tables(schema, seen = new Set()) {
  const value = resolve(schema);
  if (value.oneOf && !value.properties) return value.oneOf.flatMap((one) => tables(one, seen));
  if (!value.properties || seen.has(value)) return [];
  seen.add(value);
  const required = new Set(value.required ?? []);
  const inner = Object.values(value.properties).flatMap((property) => {
    const of = resolve(property);
    return tables(of.type === "array" ? of.items : of, seen);
  });
  const table = h(
    "table",
    { class: "fields" },
    h("caption", { class: "hint" }, nameOf(schema) ?? ""),
    h(
      "tbody",
      {},
      Object.entries(value.properties).map(([name, of]) => row(name, of, required.has(name))),
    ),
  );
  return [table, ...inner];
}

function curl(method, path, example) {
  const named = path.replace("{model}", "recall").replace("{version}", "1").replace("{label}", "stable");
  // With the dot `items:` is no scheme.
  const url = new URL(`.${named}`, document.baseURI);
  if (method === "get") return `curl '${url}'`;
  return `curl -H 'Content-Type: application/json' \\\n  -d '${JSON.stringify(example)}' \\\n  '${url}'`;
}

function call(path, method, operation) {
  const content = operation.requestBody?.content["application/json"];
  const answer = operation.responses["200"].content["application/json"]?.schema;
  const fields = content ? tables(content.schema) : [];
  const answers = answer ? tables(answer) : [];
  return h(
    "article",
    { class: "panel call", id: operation.operationId, "aria-labelledby": `of-${operation.operationId}` },
    h(
      "h3",
      { id: `of-${operation.operationId}` },
      h("span", { class: `method ${method}` }, method.toUpperCase()),
      h("code", {}, path),
      operation.security ? h("span", { class: "lock" }, "needs the admin token") : null,
    ),
    h("p", {}, prose(`${operation.summary}. ${operation.description}`)),
    h("h4", {}, "Example"),
    h(
      "pre",
      { tabindex: 0, "aria-label": `Example of ${operation.operationId}` },
      h("code", {}, curl(method, path, content?.example)),
    ),
    operation.parameters
      ? [
          h("h4", {}, "In the path"),
          h(
            "table",
            { class: "fields" },
            h(
              "tbody",
              {},
              operation.parameters.map((parameter) => row(parameter.name, parameter.schema, true)),
            ),
          ),
        ]
      : null,
    fields.length ? h("details", {}, h("summary", {}, "Fields of the request"), fields) : null,
    answers.length ? h("details", {}, h("summary", {}, "Fields of the answer"), answers) : null,
    h(
      "details",
      {},
      h("summary", {}, "Errors"),
      h(
        "dl",
        { class: "statuses" },
        Object.entries(operation.responses)
          .filter(([status]) => status !== "200")
          .flatMap(([status, response]) => [
            h("dt", {}, status),
            h("dd", {}, prose(resolve(response).description)),
          ]),
      ),
    ),
  );
}

async function show() {
  api = await get("openapi.json");
  $("title").textContent = `The API of ${api.info.title}`;
  $("version").textContent = `Version ${api.info.version} · OpenAPI ${api.openapi}`;
  const calls = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  for (const tag of api.tags) {
    const own = calls.filter(({ operation }) => operation.tags.includes(tag.name));
    $("contents").append(
      h("h2", {}, tag.name),
      ...own.map(({ path, operation }) =>
        h("a", { href: `#${operation.operationId}`, title: operation.summary }, path),
      ),
    );
    $("calls").append(
      h("h2", {}, tag.name),
      h("p", { class: "hint" }, tag.description),
      ...own.map(({ path, method, operation }) => call(path, method, operation)),
    );
  }
  if (location.hash.length > 1) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  const home = await fetch(new URL(".", document.baseURI), { method: "HEAD" });
  $("home").hidden = !home.ok;
}

followTheme();
show().catch((error) => {
  redraw($("calls"), h("p", { class: "notice", role: "alert" }, error.message));
});
