// The interest explorer: a history in, the interests and what they recall out.

import { get, post } from "./api.js";
import { known, learn, remember, titleOf } from "./catalogue.js";
import { openItem } from "./details.js";
import { $, counted, debounce, h } from "./dom.js";
import { redraw } from "./redraw.js";
import { describe, showInterests, showItems, shownWeights } from "./results.js";
import { createSearch } from "./search.js";
import { showSettings } from "./settings.js";
import { DEFAULTS, format, parse, request } from "./state.js";
import { followTheme } from "./theme.js";
import { showVisitors } from "./visitors.js";

const PAGE_TITLE = document.title;
const OF_INTEREST = 5;
const TYPING_MS = 150;
const AGAIN_S = 3;
const LATE_TRIES = 3; // What is late so often asks for too much, or its server has too much to do.

let state = parse(location.hash);
let answer = null;
let lists = null;
let running = null;
let again = null;
let timesLate = 0;

const allowed = (id) => ({ onAdd: add, history: state.history, id });

function navigate(part, { replace = false } = {}) {
  state = { ...state, ...part };
  const address = location.pathname + location.search + format(state);
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  timesLate = 0;
  render();
}

const add = (id) => navigate({ history: [...state.history.filter((other) => other !== id), id] });

function remove(place) {
  navigate({ history: state.history.filter((_, i) => i !== place) });
  if (!state.history.length) $("search").focus();
}

function showHistory() {
  $("clear").hidden = !state.history.length;
  redraw(
    $("history"),
    state.history.map((id, place) => {
      const item = known(id);
      return h(
        "li",
        { class: item.is_served ? "" : "unknown", "data-id": id },
        h("span", { class: "place" }, `${place + 1}`),
        h(
          "div",
          {},
          h(
            "button",
            { type: "button", class: "name", title: titleOf(id), onclick: () => openItem(id, allowed(id)) },
            titleOf(id),
          ),
          item.is_served ? null : h("span", { class: "meta" }, "Not served: it counts for nothing"),
        ),
        h(
          "button",
          {
            type: "button",
            class: "icon remove",
            "aria-label": `Remove ${titleOf(id)} from the history`,
            title: "Remove",
            onclick: () => remove(place),
          },
          "×",
        ),
      );
    }),
  );
}

const showRequest = () =>
  showSettings(
    state,
    { categories: answer?.unknown_categories ?? [], values: answer?.unknown_values ?? [] },
    (part) => navigate(part),
  );

function showProblem(error) {
  if (error.kind === "late") timesLate += 1;
  const isTemporary =
    ["gone", "busy", "away"].includes(error.kind) || (error.kind === "late" && timesLate < LATE_TRIES);
  $("notice").hidden = false;
  redraw(
    $("notice"),
    h("span", {}, error.message),
    error.kind === "refused"
      ? h(
          "button",
          { type: "button", onclick: () => navigate({ ...DEFAULTS, history: state.history }) },
          "Reset the request",
        )
      : h("button", { type: "button", onclick: () => render() }, "Try again"),
  );
  $("answer").classList.add("stale");
  $("timing").textContent = "";
  clearTimeout(again);
  if (isTemporary) again = setTimeout(render, 1000 * AGAIN_S);
}

function clearProblem() {
  clearTimeout(again);
  if ($("notice").contains(document.activeElement)) $("answer-title").focus({ preventScroll: true });
  $("notice").hidden = true;
  $("answer").classList.remove("stale");
}

const milliseconds = (time) => (time < 10 ? time.toFixed(1) : Math.round(time)) + " ms";

function showAnswer(time, missing, comparison) {
  showInterests(state, answer, lists, {
    onWeight: setWeight,
    onOpen: (id) => openItem(id, allowed(id)),
  });
  showItems(answer, missing, {
    onAdd: add,
    onOpen: (id) => openItem(id, allowed(id)),
    history: state.history,
  });
  const summary = describe(state, answer);
  if ($("summary").textContent !== summary) $("summary").textContent = summary;
  $("timing").textContent = [`answered in ${milliseconds(time)}`, comparison].filter(Boolean).join(" · ");
}

/** What the other kind of search finds, in words and as the ids it lacks. */
function compare(other) {
  const ids = new Set(other.items.map((item) => item.item_id));
  const missing = new Set(answer.items.map((item) => item.item_id).filter((id) => !ids.has(id)));
  const both = answer.items.length - missing.size;
  const text = missing.size
    ? `${both} of ${answer.items.length} ${state.exact ? "also in the index’s" : "also in the exact"} list`
    : "index and exact agree";
  return [missing, text];
}

async function render() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  showHistory();
  showRequest();
  document.title = state.history.length
    ? `${state.history.map(titleOf).slice(-2).join(", ")} – ${PAGE_TITLE}`
    : PAGE_TITLE;
  try {
    const learned = learn(state.history, signal).then(showHistory);
    learned.catch(() => {}); // Awaited below, unless something fails before.
    const body = request(state);
    const started = performance.now();
    const found = await post("recall", body, signal);
    const time = performance.now() - started;
    const isSameModel = answer && found.interest_weights.length === answer.interest_weights.length;
    if (!isSameModel) lists = null;
    answer = found;
    remember(answer.items);
    clearProblem();
    showAnswer(time);
    if (!answer.is_fallback) await showMore(body, time, signal);
    await learned;
    showRequest();
    timesLate = 0;
  } catch (error) {
    if (!signal.aborted) showProblem(error);
  }
}

/** Asks for each interest alone, and for the other kind of search. */
async function showMore(body, time, signal) {
  const width = answer.interest_weights.length;
  const alone = answer.interest_weights.map((_, interest) => ({
    ...body,
    k: OF_INTEREST,
    merge: undefined,
    diversity_weight: undefined,
    max_per_category: undefined,
    interest_weights: Array.from({ length: width }, (_, i) => Number(i === interest)),
  }));
  const other = { ...body, exact: !state.exact };
  const { responses } = await post("recall", { requests: [...alone, other] }, signal);
  responses.forEach((response) => remember(response.items));
  lists = responses.slice(0, width);
  showAnswer(time, ...compare(responses[width]));
}

const renderSoon = debounce(TYPING_MS, () => render());

function setWeight(interest, value) {
  const weights = [...shownWeights(state, answer)];
  weights[interest] = value;
  state = { ...state, weights: weights.some((weight) => weight > 0) ? weights : null };
  history.replaceState(null, "", location.pathname + location.search + format(state));
  renderSoon();
}

async function showFacts() {
  const { models } = await get("readyz");
  const status = await get("items");
  const version = Object.keys(models.recall ?? {})
    .map(Number)
    .sort((a, b) => b - a)[0];
  const newest = status.versions?.find((of) => of.version === version) ?? status.versions?.[0];
  const size = newest ? counted(newest.num_items, "item") : `${counted(status.num_shards, "shard")}`;
  $("facts").textContent = `Version ${version} · ${size}`;
}

followTheme();
createSearch({
  onPick: (item) => {
    remember([item]);
    add(item.item_id);
  },
  onLast: () => state.history.length && navigate({ history: state.history.slice(0, -1) }),
});
$("clear").addEventListener("click", () => {
  navigate({ history: [], weights: null });
  $("search").focus();
});
$("even").addEventListener("click", () => {
  navigate({ weights: null });
  $("weight-0").focus();
});
addEventListener("popstate", () => {
  state = parse(location.hash);
  render();
});
$("settings").open = matchMedia("(min-width: 56.01rem)").matches;
await render();
showVisitors((ids) => navigate({ history: ids, weights: null })).catch(() => {});
showFacts().catch(() => {});
