// Text as people read it: words of a query found in other texts, letters that cannot be seen, numbers.

const STOP_WORDS = new Set(
  ("a an and are as at be been but by can could did do does for from had has have how i if in into is it its may more " +
    "most no not of on or our should so some such than that the their them then there these they this those to was we " +
    "were what when where which who whom whose why will with would you your").split(" "),
);

const SEGMENTER = new Intl.Segmenter(undefined, { granularity: "word" });

/** Letters that cannot be seen as pictures: NUL becomes U+2400. Line breaks and tabs stay. */
export function showControls(text) {
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, (letter) =>
    letter === "\x7f" ? "\u2421" : String.fromCharCode(0x2400 + letter.charCodeAt(0)),
  );
}

/** A word as it is compared: small letters without accents, and without a plural's end. */
export function foldWord(word) {
  const plain = word.normalize("NFKD").replace(/\p{M}/gu, "").replace(/’/g, "'").toLowerCase();
  if (plain.length > 4 && plain.endsWith("ies")) return plain.slice(0, -3) + "y";
  return plain.length > 3 && plain.endsWith("s") && !plain.endsWith("ss") ? plain.slice(0, -1) : plain;
}

/** The words of a query that say what it is about, folded. */
export function findWords(query) {
  const words = new Set();
  for (const { segment, isWordLike } of SEGMENTER.segment(query)) {
    const small = segment.toLowerCase();
    if (isWordLike && !STOP_WORDS.has(small) && (small.length > 1 || /\P{ASCII}/u.test(small))) {
      words.add(foldWord(segment));
    }
  }
  return words;
}

/** A text in pieces: [piece, whether it is one of the words]. Joined, they are the text. */
export function splitMarked(text, words) {
  const pieces = [];
  for (const { segment, isWordLike } of SEGMENTER.segment(text)) {
    const marked = Boolean(isWordLike) && words.has(foldWord(segment));
    const last = pieces[pieces.length - 1];
    if (last && last[1] === marked && !marked) last[0] += segment;
    else pieces.push([segment, marked]);
  }
  return pieces;
}

/** The paragraphs of a text. */
export function splitParagraphs(text) {
  return text.split(/\n\s*\n|\n/).map((one) => one.trim()).filter((one) => one !== "");
}

/** The start of a text in one line. */
export function cutText(text, letters) {
  const line = text.slice(0, 4 * letters).replace(/\s+/g, " ").trim();
  const all = Array.from(line);
  return all.length <= letters ? line : all.slice(0, letters - 1).join("") + "…";
}

/** A number with its thousands apart. */
export function formatCount(number) {
  return number.toLocaleString("en-US");
}

/** A number with its sign, a true minus included. */
export function formatSigned(number, digits) {
  const text = Math.abs(number).toFixed(digits);
  return (number > 0 ? "+" : number < 0 ? "−" : "") + text;
}

/** A score with three digits. One that is not 0 or 1 is not shown as if it were. */
export function formatScore(score) {
  if (score > 0 && score < 0.0005) return "<.001";
  return score < 1 && score >= 0.9995 ? ">.999" : score.toFixed(3);
}
