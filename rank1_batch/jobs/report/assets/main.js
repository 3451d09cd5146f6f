// Shows what the address asks for, and listens to the keyboard.

import { Data } from "./data.js";
import { h } from "./dom.js";
import { buildHash, parseHash } from "./hash.js";
import { showQueries, showRows } from "./lists.js";
import { showQuery } from "./query.js";

const config = JSON.parse(document.getElementById("config").textContent);
const data = new Data(config);
const overview = document.getElementById("overview");
const view = document.getElementById("view");
let asked = 0;
let at = -1;

function go(hash) {
  history.replaceState(null, "", hash);
  show();
}

/** Show the view of the address. A later call wins over one that still loads. */
async function show() {
  const mine = ++asked;
  const { view: name, params } = parseHash(location.hash);
  const kept = keepField();
  for (const link of document.querySelectorAll("nav a")) {
    const current = link.dataset.view === name || (link.dataset.view === "queries" && name === "query");
    link.toggleAttribute("data-current", current);
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (name !== "overview") await showView(name, params, mine);
  if (mine !== asked) return;
  overview.hidden = name !== "overview";
  view.hidden = name === "overview";
  at = -1;
  restoreField(kept);
  if (params.d !== undefined) revealOpen();
  else if (!kept) scrollTo(0, 0);
  document.documentElement.dataset.shown = location.hash;
}

async function showView(name, params, mine) {
  view.setAttribute("aria-busy", "true");
  const later = setTimeout(() => tell(mine, "Loading …"), 250);
  try {
    const page = await buildView(name, params, mine);
    if (mine === asked) view.replaceChildren(page);
  } catch (error) {
    if (mine === asked) view.replaceChildren(h("p", { class: "failure" }, String(error.message ?? error)));
  } finally {
    clearTimeout(later);
    view.removeAttribute("aria-busy");
  }
}

function buildView(name, params, mine) {
  if (name === "queries") return showQueries(data, params, go);
  if (name === "rows") return showRows(data, params, go, (done, all) => tell(mine, `Loading ${done} of ${all} …`));
  return showQuery(data, params);
}

function tell(mine, text) {
  if (mine !== asked || document.activeElement?.dataset.key) return;
  overview.hidden = true;
  view.hidden = false;
  view.replaceChildren(h("p", { class: "loading", role: "status" }, text));
}

/** The field that is being typed in, and where: the list around it is built anew. */
function keepField() {
  const field = document.activeElement;
  if (!field?.dataset?.key) return null;
  return { key: field.dataset.key, from: field.selectionStart, to: field.selectionEnd };
}

function restoreField(kept) {
  if (!kept) return;
  const field = view.querySelector(`[data-key="${CSS.escape(kept.key)}"]`);
  field?.focus();
  if (field && kept.from !== undefined && field.setSelectionRange) field.setSelectionRange(kept.from, kept.to);
}

/** Bring the open candidate into sight, and its reading to its start. */
function revealOpen() {
  const open = view.querySelector(".candidate.open");
  if (getComputedStyle(view.querySelector(".candidates") ?? view).display === "none") scrollTo(0, 0);
  else open?.scrollIntoView({ block: "nearest" });
  const reader = view.querySelector(".reader");
  if (reader) reader.scrollTop = 0;
}

/** Go to the next or the one before: candidates of a query, or entries of a list. */
function step(by) {
  const { view: name, params } = parseHash(location.hash);
  const links = [...view.querySelectorAll(".candidate, .item")];
  if (view.hidden || links.length === 0) return;
  if (name === "query") {
    const open = links.findIndex((link) => link.classList.contains("open"));
    const to = links[Math.max(0, Math.min(links.length - 1, open < 0 ? 0 : open + by))];
    go(buildHash("query", { q: params.q, d: parseHash(new URL(to.href).hash).params.d }));
    return;
  }
  at = Math.max(0, Math.min(links.length - 1, at + by));
  links[at].focus();
}

/** Close what is open: a field, a candidate, a query, a list. */
function close() {
  if (document.activeElement?.dataset?.key) {
    document.activeElement.blur();
    return;
  }
  const { view: name, params } = parseHash(location.hash);
  if (name === "query" && params.d !== undefined) location.hash = buildHash("query", { q: params.q });
  else if (name === "query") location.hash = "#queries";
  else if (name !== "overview") location.hash = "#";
}

async function search() {
  if (!view.querySelector("[data-search]")) {
    history.pushState(null, "", "#queries");
    await show();
  }
  const field = view.querySelector("[data-search]");
  field?.focus();
  field?.select();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches?.("input, select, textarea");
  if (event.key === "Escape") close();
  else if (typing) return;
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "/") search();
  else return;
  event.preventDefault();
});

document.getElementById("search").addEventListener("click", search);
addEventListener("hashchange", show);
show();
