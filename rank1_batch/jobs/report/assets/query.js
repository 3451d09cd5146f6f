// A query's page: its candidates before and after, and the reading of one of them.

import { buildHash } from "./hash.js";
import { describeMove, drawMove, findPlacesBefore, nameMove } from "./moves.js";
import { cutText, findWords, formatCount, formatScore, formatSigned } from "./text.js";
import { h, isolate, prose, svg } from "./dom.js";
import { scoreMeter } from "./lists.js";

const ROW_HEIGHT = 56;

const MOVES_WIDTH = 132;

const NARROW = matchMedia("(max-width: 40rem)");

const ENDINGS = {
  complete: "ended by itself",
  closed: "closed at its limit",
  no_think: "asked without reasoning",
  error: "could not be judged",
};

/** The page of a query, with one of its candidates open where the address names it. */
export async function showQuery(data, params) {
  const query = await data.findQuery(params.q);
  if (!query) return h("section", {}, h("h1", {}, "No such query"), h("p", {}, "This report has no query ", isolate(params.q), "."));
  const [rows, texts] = await Promise.all([data.loadRows(query), data.loadTexts(query)]);
  const open = rows.findIndex((row) => row.doc === params.d);
  const words = findWords(texts.text ?? "");
  const page = h(
    "section",
    { class: open >= 0 ? "query open" : "query" },
    heading(data, query, texts),
    h(
      "div",
      { class: "columns" },
      candidates(query, rows, texts, open, data.config),
      open >= 0
        ? reader(query, rows, open, texts, words, data.config)
        : h("aside", { class: "reader hint" }, h("p", {}, params.d === undefined ? "Choose a candidate to read its reasoning." : `This query has no candidate ${params.d}.`)),
    ),
  );
  return page;
}

function heading(data, query, texts) {
  const at = data.queries.indexOf(query);
  const [before, after] = [data.queries[at - 1], data.queries[at + 1]];
  const step = (to, text, label) =>
    to ? h("a", { href: buildHash("query", { q: to.id }), "aria-label": label }, text) : h("span", { class: "off" }, text);
  return h(
    "header",
    { class: "query-head" },
    h(
      "p",
      { class: "crumbs" },
      h("a", { href: "#queries" }, "Queries"),
      " / ",
      isolate(query.id, "bdi", { class: "id" }),
      h("span", { class: "steps" }, step(before, "← previous", "previous query"), step(after, "next →", "next query")),
    ),
    h("h1", { dir: "auto" }, texts.text ?? `Query ${query.id}`),
    h(
      "p",
      { class: "item-facts" },
      h("span", {}, `${formatCount(query.rows)} candidates`),
      h("span", {}, `${query.trues} called true`),
      query.errors > 0 && h("span", { class: "bad" }, `${query.errors} errors`),
      query.gain !== null && h("span", { class: query.gain > 0 ? "up" : query.gain < 0 ? "down" : "" }, `${data.config.measure} ${formatSigned(query.gain, 3) || "unchanged"}`),
    ),
  );
}

function candidates(query, rows, texts, open, config) {
  const known = rows.some((row) => row.was !== null);
  return h(
    "div",
    { class: "candidates" },
    h("p", { class: "orders" }, known && h("span", {}, "first stage"), h("span", {}, "new order"), known && config.graded && h("span", { class: "legend" }, h("i", {}), `grade ${config.threshold} or more`)),
    h(
      "div",
      { class: "ranked" },
      known && moves(rows, open, config),
      h("div", { class: "candidate-list" }, rows.map((row, place) => candidate(query, row, place, texts, place === open, config))),
    ),
  );
}

function moves(rows, open, config) {
  const places = findPlacesBefore(rows);
  const width = NARROW.matches ? MOVES_WIDTH / 2 : MOVES_WIDTH;
  const height = rows.length * ROW_HEIGHT;
  const lines = rows.map((row, place) => {
    const relevant = row.grade !== null && row.grade >= config.threshold;
    const kind = `move ${nameMove(row)}${relevant ? " relevant" : ""}${place === open ? " open" : ""}`;
    const from = (places[place] + 0.5) * ROW_HEIGHT;
    return svg(
      "g",
      { class: kind, "data-place": place },
      svg("path", { d: drawMove(places[place], place, ROW_HEIGHT, 34, width - 5) }),
      relevant && svg("circle", { cx: 34, cy: from, r: 4 }),
      relevant && svg("circle", { cx: width - 5, cy: (place + 0.5) * ROW_HEIGHT, r: 4 }),
      svg("text", { x: 26, y: from + 4, "text-anchor": "end" }, row.was === null ? "–" : row.was),
    );
  });
  lines.sort((a, b) => a.classList.contains("open") - b.classList.contains("open"));
  const drawing = svg("svg", { class: "moves", width, height, viewBox: `0 0 ${width} ${height}`, role: "img" }, svg("title", {}, "Where each candidate stood in the first stage's order"), lines);
  return drawing;
}

function candidate(query, row, place, texts, open, config) {
  const own = texts.find(row.doc, place);
  const text = own && (own.title || own.passage) ? cutText(`${own.title ?? ""} ${own.passage ?? ""}`, 140) : row.doc;
  const properties = { class: open ? "candidate open" : "candidate", href: buildHash("query", { q: query.id, d: row.doc }), "aria-current": open ? "true" : null };
  return h(
    "a",
    properties,
    h("span", { class: "rank" }, row.rank),
    scoreMeter(row),
    h(
      "span",
      { class: "candidate-text" },
      h("span", { class: "line", dir: "auto" }, text),
      h(
        "span",
        { class: "item-facts" },
        row.moved !== null && h("span", { class: nameMove(row) }, describeMove(row)),
        row.grade !== null && h("span", { class: gradeClass(row, config) }, `grade ${row.grade}`),
        row.finish === "closed" && h("span", {}, "closed"),
        isolate(row.doc, "bdi", { class: "id" }),
      ),
    ),
  );
}

/** People's grade: one that counts as relevant stands out. */
function gradeClass(row, config) {
  return row.grade >= config.threshold ? "grade relevant" : "grade";
}

function reader(query, rows, open, texts, words, config) {
  const row = rows[open];
  const own = texts.find(row.doc, open);
  const link = buildHash("query", { q: query.id, d: row.doc });
  return h(
    "article",
    { class: "reader", tabindex: "-1" },
    h(
      "p",
      { class: "crumbs" },
      h("a", { class: "back", href: buildHash("query", { q: query.id }) }, "← all candidates"),
      h("a", { class: "permalink", href: link }, "link to this row"),
    ),
    h("h2", { dir: "auto" }, own?.title || (own?.passage && cutText(own.passage, 70)) || row.doc),
    h(
      "p",
      { class: "standing" },
      h("strong", {}, `rank ${row.rank}`),
      row.was !== null && h("span", {}, `was ${row.was}`),
      row.moved !== null && h("span", { class: nameMove(row) }, row.moved === 0 ? "did not move" : describeMove(row)),
      row.grade !== null && h("span", { class: gradeClass(row, config) }, `people’s grade ${row.grade}`),
      isolate(row.doc, "bdi", { class: "id" }),
    ),
    row.score !== null && verdict(row, own),
    own?.error && h("p", { class: "failure", dir: "auto" }, h("strong", {}, "Error: "), own.error),
    own === null ? h("p", { class: "empty" }, "This report has the texts of its examples only (traces=chosen).") : readings(row, own, words, config),
  );
}

function verdict(row, own) {
  return h(
    "p",
    { class: "judged" },
    h("span", { class: `big ${row.label}` }, formatScore(row.score)),
    h("span", {}, "The model says ", h("strong", { class: String(row.label) }, String(row.label)), own && own.trueLogprob !== null ? ` (log-odds ${formatSigned(own.trueLogprob - own.falseLogprob, 2)}).` : "."),
  );
}

function readings(row, own, words, config) {
  const limit = config.budget && row.finish === "closed" ? ` of ${formatCount(config.budget)}` : "";
  const tokens = row.tokens > 0 ? `${formatCount(row.tokens)}${limit} tokens, ` : "";
  return [
    row.finish !== "no_think" && row.finish !== "error" && h("h3", {}, "Reasoning ", h("small", {}, tokens + ENDINGS[row.finish])),
    own.trace ? prose(own.trace, words) : null,
    h("h3", {}, "Passage ", h("small", {}, row.cut ? "cut to fit the model" : "")),
    own.passage === null ? h("p", { class: "empty" }, "No text.") : prose(own.passage, words, { class: "prose passage" }),
    h("p", { class: "source" }, `${formatCount(row.prompt)} tokens in the prompt. Judged as row ${own.row}${own.candidate === null ? "" : `, candidate ${own.candidate}`} of unit ${own.unit}.`),
  ];
}
