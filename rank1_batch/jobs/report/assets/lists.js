// The list of all queries and the list of all rows, with search and filters that the address keeps.

import { buildHash } from "./hash.js";
import { QUERY_ORDERS, ROW_ORDERS, matchRow, matchText } from "./filters.js";
import { describeMove, nameMove } from "./moves.js";
import { cutText, formatCount, formatScore, formatSigned } from "./text.js";
import { h, isolate } from "./dom.js";

const SHOWN_AT_ONCE = 100;

const FINISHES = { complete: "complete", closed: "closed at the limit", no_think: "no reasoning", error: "error" };

/** The page of all queries. */
export async function showQueries(data, params, go) {
  const queries = await data.loadQueries();
  const { config } = data;
  const match = matchText(params.find);
  const found = queries.filter((query) => match(query.id, query.text) && (!params.only || query[params.only] > 0));
  if (QUERY_ORDERS[params.sort]) found.sort(QUERY_ORDERS[params.sort]);
  const orders = { "": "as in the input", id: "by id", move: "largest move", trues: "most called true" };
  if (config.graded) Object.assign(orders, { gain: `gained most ${config.measure}`, loss: `lost most ${config.measure}` });
  const change = (more) => go(buildHash("queries", { ...params, ...more }));
  return h(
    "section",
    { class: "list" },
    h("h1", {}, "Queries"),
    h(
      "form",
      { class: "filters", onsubmit: (event) => event.preventDefault() },
      searchField("Words or id of a query", params.find, (find) => change({ find })),
      choice("Order", params.sort, orders, (sort) => change({ sort })),
      choice("Only", params.only, { "": "all", errors: "with errors", trues: "with a true" }, (only) => change({ only })),
    ),
    countLine(found.length, queries.length, "query", "queries"),
    growingList(found, (query) => queryItem(query, config)),
  );
}

function queryItem(query, config) {
  const moved = query.up === null ? "" : [query.up > 0 && `▲ ${query.up}`, query.down < 0 && `▼ ${-query.down}`];
  return h(
    "a",
    { class: "item query-item", href: buildHash("query", { q: query.id }) },
    h("span", { class: "item-text" }, isolate(query.text ? cutText(query.text, 160) : `query ${query.id}`)),
    h(
      "span",
      { class: "item-facts" },
      isolate(query.id, "bdi", { class: "id" }),
      h("span", {}, `${formatCount(query.rows)} candidates`),
      h("span", {}, `${query.trues} true`),
      query.errors > 0 && h("span", { class: "bad" }, `${query.errors} errors`),
      moved && h("span", { class: "moved" }, moved.filter(Boolean).join("  ")),
      query.gain !== null &&
        config.graded &&
        h("span", { class: query.gain > 0 ? "up" : query.gain < 0 ? "down" : "" }, `${config.measure} ${formatSigned(query.gain, 3) || "0"}`),
    ),
  );
}

/** The page of all rows. */
export async function showRows(data, params, go, tell) {
  const rows = await data.loadAllRows(tell);
  const { config } = data;
  const [passes, match] = [matchRow(params), matchText(params.find)];
  const found = rows.filter(([query, row]) => passes(row) && match(query.id, query.text, row.doc));
  if (ROW_ORDERS[params.sort]) found.sort((a, b) => ROW_ORDERS[params.sort](a[1], b[1]));
  const change = (more) => go(buildHash("rows", { ...params, ...more }));
  const orders = { "": "as in the input", score: "best score", "-score": "worst score", up: "moved up", down: "moved down", tokens: "longest reasoning" };
  return h(
    "section",
    { class: "list" },
    h("h1", {}, "Rows"),
    h(
      "form",
      { class: "filters", onsubmit: (event) => event.preventDefault() },
      searchField("Words of a query, an id", params.find, (find) => change({ find })),
      choice("Verdict", params.label, { "": "any", true: "true", false: "false" }, (label) => change({ label })),
      choice("Reasoning", params.finish, { "": "any", ...FINISHES }, (finish) => change({ finish })),
      rangeField("Score", params.score, (score) => change({ score })),
      choice("Move", params.move, { "": "any", up: "up", 10: "10 or more up", down: "down", "-10": "10 or more down", none: "none" }, (move) => change({ move })),
      config.graded && choice("Grade", params.grade, { "": "any", any: "graded", none: "not graded", 0: "0", 1: "1", 2: "2", 3: "3" }, (grade) => change({ grade })),
      choice("Order", params.sort, orders, (sort) => change({ sort })),
    ),
    countLine(found.length, rows.length, "row", "rows"),
    growingList(found, ([query, row]) => rowItem(query, row, config)),
  );
}

function rowItem(query, row, config) {
  return h(
    "a",
    { class: "item row-item", href: buildHash("query", { q: query.id, d: row.doc }) },
    scoreMeter(row),
    h(
      "span",
      { class: "item-body" },
      h("span", { class: "item-text" }, isolate(query.text ? cutText(query.text, 110) : `query ${query.id}`)),
      h(
        "span",
        { class: "item-facts" },
        isolate(row.doc, "bdi", { class: "id" }),
        h("span", {}, `rank ${row.rank}`),
        row.moved !== null && h("span", { class: nameMove(row) }, describeMove(row)),
        row.tokens > 0 && h("span", {}, `${formatCount(row.tokens)} tokens`),
        row.finish !== "complete" && h("span", { class: row.finish === "error" ? "bad" : "" }, FINISHES[row.finish]),
        row.grade !== null && h("span", { class: row.grade >= config.threshold ? "grade relevant" : "grade" }, `grade ${row.grade}`),
      ),
    ),
  );
}

/** A score as a number, a bar and a word. */
export function scoreMeter(row) {
  if (row.score === null) return h("span", { class: "meter none" }, h("span", { class: "meter-number" }, "error"));
  const bar = h("span", { class: `meter-bar ${row.label ? "true" : "false"}` });
  bar.style.setProperty("--score", String(row.score));
  return h(
    "span",
    { class: "meter" },
    h("span", { class: "meter-number" }, formatScore(row.score)),
    bar,
    h("span", { class: `verdict ${row.label}` }, String(row.label)),
  );
}

/** Entries of a list, the first hundred and then more as they are asked for. */
function growingList(found, build) {
  const list = h("div", { class: "items" });
  const more = h("button", { type: "button", class: "more", onclick: () => grow() }, "");
  let shown = 0;
  const grow = () => {
    list.append(...found.slice(shown, shown + SHOWN_AT_ONCE).map(build));
    shown = Math.min(found.length, shown + SHOWN_AT_ONCE);
    more.hidden = shown === found.length;
    more.textContent = `Show more (${formatCount(found.length - shown)} left)`;
  };
  grow();
  return h("div", {}, list, more, found.length === 0 && h("p", { class: "empty" }, "Nothing matches. Take a filter away."));
}

function countLine(found, all, one, many) {
  const text = found === all ? `${formatCount(all)} ${all === 1 ? one : many}` : `${formatCount(found)} of ${formatCount(all)} ${many}`;
  return h("p", { class: "count", role: "status" }, text);
}

function searchField(label, value, change) {
  return field(label, { type: "search", value: value ?? "", "data-search": true, "data-key": "find" }, change);
}

function rangeField(label, value, change) {
  return field(label, { type: "text", value: value ?? "", placeholder: "0.2..0.8", "data-key": label, size: 9 }, change);
}

function field(label, properties, change) {
  let timer = 0;
  const input = h("input", {
    ...properties,
    "aria-label": label,
    oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(() => change(input.value), 200);
    },
  });
  return h("label", { class: properties.type === "search" ? "search" : "" }, h("span", {}, label), input);
}

function choice(label, value, options, change) {
  const select = h(
    "select",
    { "data-key": label, onchange: () => change(select.value) },
    Object.entries(options).map(([key, text]) => h("option", { value: key, selected: key === (value ?? "") }, text)),
  );
  return h("label", {}, h("span", {}, label), select);
}
