// Which queries and rows a filter lets through. Pure: a filter is the parameters of an address.

import { foldWord } from "./text.js";

/** "0.2..0.4" as two numbers; an end that is left out is open. Null for anything else. */
export function parseRange(text) {
  const found = /^\s*(-?[\d.]*)\s*(?:\.\.|…|–|to)\s*(-?[\d.]*)\s*$/.exec(text ?? "");
  if (!found) return null;
  const low = found[1] === "" ? -Infinity : Number(found[1]);
  const high = found[2] === "" ? Infinity : Number(found[2]);
  return Number.isNaN(low) || Number.isNaN(high) ? null : [low, high];
}

/** A function that says whether a query's id or text has all the words that were typed. */
export function matchText(typed) {
  const wanted = (typed ?? "").split(/\s+/).filter((word) => word !== "").map(foldText);
  return (...texts) => {
    if (wanted.length === 0) return true;
    const all = foldText(texts.filter((text) => text).join("\n"));
    return wanted.every((word) => all.includes(word));
  };
}

/** A function that says whether a row passes the filters of an address, but for the words that were typed. */
export function matchRow(params) {
  const tests = [];
  const score = parseRange(params.score);
  if (score) {
    const top = score[1] >= 1;
    tests.push((row) => row.score !== null && row.score >= score[0] && (row.score < score[1] || (top && row.score <= 1)));
  }
  if (params.finish) tests.push((row) => row.finish === params.finish);
  if (params.label) tests.push((row) => String(row.label) === params.label);
  if (params.grade === "any") tests.push((row) => row.grade !== null);
  else if (params.grade === "none") tests.push((row) => row.grade === null);
  else if (params.grade) tests.push((row) => String(row.grade) === params.grade);
  if (params.move) tests.push(matchMove(params.move));
  return (row) => tests.every((test) => test(row));
}

/** "up" and "down" are any number of places; "10" is at least ten up, "-10" at least ten down. */
export function matchMove(wanted) {
  if (wanted === "up") return (row) => row.moved !== null && row.moved > 0;
  if (wanted === "down") return (row) => row.moved !== null && row.moved < 0;
  if (wanted === "none") return (row) => row.moved === 0;
  const least = Number(wanted);
  if (Number.isNaN(least)) return () => true;
  return least < 0 ? (row) => row.moved !== null && row.moved <= least : (row) => row.moved !== null && row.moved >= least;
}

/** Orders of lists: how two of them compare. Equal ones stay in the order of the input. */
export const ROW_ORDERS = {
  score: (a, b) => low(b.score) - low(a.score),
  "-score": (a, b) => high(a.score) - high(b.score),
  up: (a, b) => low(b.moved) - low(a.moved),
  down: (a, b) => high(a.moved) - high(b.moved),
  tokens: (a, b) => b.tokens - a.tokens,
};

export const QUERY_ORDERS = {
  id: (a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0),
  move: (a, b) => Math.max(b.up ?? 0, -(b.down ?? 0)) - Math.max(a.up ?? 0, -(a.down ?? 0)),
  trues: (a, b) => b.trues - a.trues,
  errors: (a, b) => b.errors - a.errors,
  gain: (a, b) => low(b.gain) - low(a.gain),
  loss: (a, b) => high(a.gain) - high(b.gain),
};

function foldText(text) {
  return foldWord(text.replace(/\s+/g, " "));
}

function low(value) {
  return value ?? -Infinity;
}

function high(value) {
  return value ?? Infinity;
}
