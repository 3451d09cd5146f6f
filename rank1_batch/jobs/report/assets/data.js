// Loads the pieces of the report. A piece is a script, since a page from disk may load scripts but not read files.

const SAFE = /^data\/[0-9a-f]+\/[a-z]+-\d+\.js$/;

const MOST_AT_ONCE = 4;

const waiting = new Map();

const trusted = window.trustedTypes
  ? window.trustedTypes.createPolicy("rank1-data", { createScriptURL: checkUrl })
  : { createScriptURL: checkUrl };

// What every piece calls when it has been loaded.
window.rank1 = (name, packed) => {
  waiting.get(name)?.(packed);
  waiting.delete(name);
};

function checkUrl(url) {
  if (!SAFE.test(url)) throw new TypeError(`not a piece of this report: ${url}`);
  return url;
}

/** What was packed as JSON, gzip and base64. */
export async function unpack(packed) {
  const letters = atob(packed);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i += 1) bytes[i] = letters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

/** A query of the list, out of a piece's entry. */
export function readQuery(entry) {
  const [id, text, place, rows, errors, trues, up, down, gain, own, texts] = entry;
  return { id, text, place, rows, errors, trues, up, down, gain, own, texts };
}

/** A row, out of a piece's entry. */
export function readRow(entry) {
  const [doc, rank, was, score, label, finish, grade, tokens, prompt, cut] = entry;
  const moved = was === null ? null : was - rank;
  return { doc, rank, was, moved, score, label, finish, grade, tokens, prompt, cut: cut === 1 };
}

/** A row's texts, out of a piece's entry. */
export function readTexts(entry) {
  const [title, passage, trace, error, trueLogprob, falseLogprob, unit, row, candidate] = entry;
  return { title, passage, trace, error, trueLogprob, falseLogprob, unit, row, candidate };
}

/** All that can be asked of the report. Pieces are loaded once, the largest of them only the last few. */
export class Data {
  constructor(config) {
    this.config = config;
    this.pieces = new Map();
    this.queries = null;
    this.rows = null;
    this.byId = new Map();
  }

  /** All queries, in the order of the input. `tell` hears how many of how many pieces are there. */
  async loadQueries(tell = () => {}) {
    if (this.queries) return this.queries;
    const pieces = await this.loadAll("queries", tell);
    this.queries = pieces.flat().map(readQuery).sort((a, b) => a.place - b.place);
    for (const query of this.queries) this.byId.set(query.id, query);
    return this.queries;
  }

  /** A query by its id; undefined where there is none. */
  async findQuery(id) {
    await this.loadQueries();
    return this.byId.get(id);
  }

  /** The rows of a query, by rank. */
  async loadRows(query) {
    const piece = await this.load("rows", query.own[0]);
    return piece[query.own[1]].map(readRow);
  }

  /** All rows of all queries as [query, row], in the order of the input. */
  async loadAllRows(tell) {
    if (this.rows) return this.rows;
    const queries = await this.loadQueries();
    const pieces = await this.loadAll("rows", tell);
    this.rows = queries.flatMap((query) => pieces[query.own[0]][query.own[1]].map((entry) => [query, readRow(entry)]));
    return this.rows;
  }

  /** A query's whole text and the texts of its rows; null where they were not copied. */
  async loadTexts(query) {
    if (query.texts) {
      const [text, rows] = (await this.load("texts", query.texts[0]))[query.texts[1]];
      return { text, find: (_, place) => readTexts(rows[place]) };
    }
    const chosen = new Map();
    let text = query.text;
    for (const [id, doc, whole, entry] of (await this.loadAll("chosen", () => {})).flat()) {
      if (id === query.id) {
        chosen.set(doc, readTexts(entry));
        text = whole;
      }
    }
    return { text, find: (doc) => chosen.get(doc) ?? null };
  }

  async loadAll(kind, tell) {
    const number = this.config.pieces[kind];
    const found = new Array(number);
    let next = 0;
    let done = 0;
    const work = async () => {
      while (next < number) {
        const place = next++;
        found[place] = await this.load(kind, place);
        tell((done += 1), number);
      }
    };
    await Promise.all(Array.from({ length: Math.min(MOST_AT_ONCE, number) }, work));
    return found;
  }

  load(kind, number) {
    const name = `${kind}-${number}`;
    if (!this.pieces.has(name)) {
      const piece = loadScript(name, `${this.config.folder}/${name}.js`).then(unpack);
      piece.catch(() => this.pieces.delete(name));
      this.pieces.set(name, piece);
      this.forget("texts", 8);
    }
    return this.pieces.get(name);
  }

  /** Let go of the oldest pieces of a kind. */
  forget(kind, most) {
    const held = [...this.pieces.keys()].filter((name) => name.startsWith(`${kind}-`));
    for (const name of held.slice(0, Math.max(0, held.length - most))) this.pieces.delete(name);
  }
}

function loadScript(name, url) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const fail = () => {
      waiting.delete(name);
      script.remove();
      reject(new Error(`${url} cannot be loaded. Reload this page: the report may be a new one. If that does not help, its folder is not complete.`));
    };
    waiting.set(name, (packed) => {
      script.remove();
      resolve(packed);
    });
    script.onerror = fail;
    script.src = trusted.createScriptURL(url);
    document.head.append(script);
  });
}
