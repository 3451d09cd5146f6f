// How candidates moved: lines from the first stage's order to the new one.

/** The place of each row (from 0) in the first stage's order: by rank then, and in the new order where that is equal. */
export function findPlacesBefore(rows) {
  const order = rows.map((_, place) => place);
  order.sort((a, b) => (rows[a].was ?? Infinity) - (rows[b].was ?? Infinity) || a - b);
  const places = new Array(rows.length);
  order.forEach((row, place) => (places[row] = place));
  return places;
}

/** A curve from the place before to the place now, in rows of this height. */
export function drawMove(before, now, height, left, right) {
  const [from, to] = [(before + 0.5) * height, (now + 0.5) * height];
  const middle = (left + right) / 2;
  return `M${left} ${from}C${middle} ${from} ${middle} ${to} ${right} ${to}`;
}

/** Where a row went, as the style names it. */
export function nameMove(row) {
  if (row.moved === null || row.moved === 0) return "same";
  return row.moved > 0 ? "up" : "down";
}

/** A move in a few letters: ▲ 3, ▼ 2, or = for none. */
export function describeMove(row) {
  if (row.moved === null) return "";
  if (row.moved === 0) return "=";
  return row.moved > 0 ? `▲ ${row.moved}` : `▼ ${-row.moved}`;
}
