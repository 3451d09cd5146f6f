"""Makes data/: the pairs that the demo model learns from, and those that it is measured on, from SciFact.

Run it once, with SciFact as Parquet (queries, qrels, corpus, bm25_top100). Its result is in the repository.
data/README.md says what is in it and under which licences.

    python tools/demo_model/make_data.py SCIFACT_FOLDER
"""

import hashlib
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from split import choose_part
from traces import content_words, coverage, find_terms, stem, weigh_stems

DATA = Path(__file__).with_name("data")
SYNTHETIC_QUERIES = 1850
TOP = 20
"""Candidates of a held-out query that are kept, as the first stage ordered them."""
QUESTIONS = (
    "What is known about {}?",
    "What does research say about {}?",
    "How are {} related?",
    "Is there a study of {}?",
)


class Example(NamedTuple):
    """A pair to learn from; `kind` says where its query comes from."""

    part: str
    kind: str
    query: str
    passage: str
    label: bool


class SciFact(NamedTuple):
    """The data set: texts by id, the relevant documents of each query, and its BM25 order."""

    queries: dict[str, str]
    titles: dict[str, str]
    texts: dict[str, str]
    relevant: dict[str, set[str]]
    run: dict[str, list[str]]

    def passage(self, doc_id: str) -> str:
        """Title and abstract, as the job shows them."""
        return f"{self.titles[doc_id]} {self.texts[doc_id]}"


def main(folder: str) -> int:
    """Write data/train.parquet and data/held_out.parquet."""
    data = read_scifact(Path(folder))
    chance = random.Random(0)
    unseen = {doc for query, docs in data.relevant.items() if choose_part(query) == "held_out" for doc in docs}
    documents = sorted(set(data.texts) - unseen)
    weights = weigh_stems(data.passage(doc_id) for doc_id in documents)
    examples = [*pair_claims(data, unseen, chance), *pair_abstracts(data, documents, weights, chance)]
    chance.shuffle(examples)
    DATA.mkdir(exist_ok=True)
    write_table(DATA / "train.parquet", [example._asdict() for example in examples])
    write_table(DATA / "held_out.parquet", list(held_out_pairs(data)))
    print(Counter((example.part, example.kind, example.label) for example in examples))
    return 0


def read_scifact(folder: Path) -> SciFact:
    """The four tables of the folder."""
    queries, qrels, corpus, run = (
        pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("queries", "qrels", "corpus", "bm25_top100")
    )
    relevant: dict[str, set[str]] = defaultdict(set)
    for row in qrels:
        relevant[row["query_id"]].add(row["doc_id"])
    order: dict[str, list[str]] = defaultdict(list)
    for row in sorted(run, key=lambda row: row["rank"]):
        order[row["query_id"]].append(row["doc_id"])
    return SciFact(
        {row["query_id"]: row["query"] for row in queries},
        {row["doc_id"]: row["title"] for row in corpus},
        {row["doc_id"]: row["text"] for row in corpus},
        dict(relevant),
        dict(order),
    )


def pair_claims(data: SciFact, unseen: set[str], chance: random.Random) -> Iterator[Example]:
    """Each claim of the training part, with its relevant documents and as many others from its BM25 run."""
    for query_id, query in data.queries.items():
        part = choose_part(query_id)
        if part == "held_out":
            continue
        others = [doc for doc in data.run[query_id] if doc not in data.relevant[query_id] | unseen]
        for doc_id in sorted(data.relevant[query_id] - unseen):
            yield Example(part, "claim", query, cut_passage(data.passage(doc_id), chance), label=True)
            other = others[min(int(chance.expovariate(1 / 25)), len(others) - 1)]
            yield Example(part, "claim", query, cut_passage(data.passage(other), chance), label=False)


def pair_abstracts(
    data: SciFact, documents: list[str], weights: dict[str, float], chance: random.Random
) -> Iterator[Example]:
    """Queries made from abstracts, each with its own abstract and with a similar one.

    A pair whose words contradict its label is left out, because these labels are guesses.
    """
    index = index_documents(data, documents)
    for doc_id in chance.sample(documents, SYNTHETIC_QUERIES):
        kind, query, text = make_query(data, doc_id, chance)
        near = [other for other in search(index, weights, query) if other != doc_id]
        easy = not near or chance.random() < 0.25
        other = chance.choice(documents) if easy else near[min(int(chance.expovariate(1 / 8)), len(near) - 1)]
        positive, negative = cut_passage(text, chance), cut_passage(data.passage(other), chance)
        if coverage(find_terms(query, positive, weights)) >= 0.3 and other != doc_id:
            yield Example("train", kind, query, positive, label=True)
        if coverage(find_terms(query, negative, weights)) <= 0.7 and other != doc_id:
            yield Example("train", kind, query, negative, label=False)


def make_query(data: SciFact, doc_id: str, chance: random.Random) -> tuple[str, str, str]:
    """(kind, query, the abstract without it): a sentence, the title, or a question from the title's words."""
    sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])", data.texts[doc_id])
    fit = [sentence for sentence in sentences if 8 <= len(sentence.split()) <= 24]
    way = chance.random()
    if way < 0.3 and fit and len(sentences) > 3:
        query = chance.choice(fit)
        return "sentence", query, data.passage(doc_id).replace(query, " ", 1)
    title = data.titles[doc_id].rstrip(".")
    if way < 0.5:
        return "title", title, data.texts[doc_id]
    words = list(dict.fromkeys(content_words(title)))
    start = chance.randrange(max(1, len(words) - 3))
    chosen = words[start : start + chance.randint(2, 4)]
    named = ", ".join(chosen[:-1]) + " and " * (len(chosen) > 1) + chosen[-1] if chosen else title
    return "question", chance.choice(QUESTIONS).format(named), data.texts[doc_id] if way < 0.8 else data.passage(doc_id)


def cut_passage(text: str, chance: random.Random) -> str:
    """The first 40 to 110 words of a passage, or up to 200 for one in eight."""
    length = chance.randint(110, 200) if chance.random() < 1 / 8 else chance.randint(40, 110)
    return " ".join(text.split()[:length])


def index_documents(data: SciFact, documents: list[str]) -> dict[str, dict[str, float]]:
    """Stem → document → the part of its BM25 weight that does not depend on the query (k1 0.9, b 0.4)."""
    counts = {doc: Counter(map(stem, content_words(data.passage(doc)))) for doc in documents}
    mean = sum(count.total() for count in counts.values()) / len(counts)
    index: dict[str, dict[str, float]] = defaultdict(dict)
    for doc, count in counts.items():
        norm = 0.9 * (0.6 + 0.4 * count.total() / mean)
        for key, times in count.items():
            index[key][doc] = times / (times + norm)
    return index


def search(index: dict[str, dict[str, float]], weights: dict[str, float], query: str, depth: int = 50) -> list[str]:
    """The best documents of a query by BM25."""
    scores: dict[str, float] = defaultdict(float)
    for key in set(map(stem, content_words(query))):
        for doc, share in index.get(key, {}).items():
            scores[doc] += weights[key] * share
    return sorted(scores, key=scores.__getitem__, reverse=True)[:depth]


def held_out_pairs(data: SciFact) -> Iterator[dict[str, Any]]:
    """The pairs of the held-out claims: the first 20 of BM25, and a balanced set.

    The balanced set has each relevant document and as many others from the BM25 run of the claim. The hash of
    their ids chooses them.
    """
    for query_id in (query_id for query_id in data.queries if choose_part(query_id) == "held_out"):
        run, relevant = data.run[query_id], data.relevant[query_id]
        drawn = sorted(set(run) - relevant, key=lambda doc: hashlib.sha256(f"{query_id}/{doc}".encode()).digest())
        balanced = relevant | set(drawn[: len(relevant)])
        for doc_id in sorted(balanced | set(run[:TOP]), key=lambda doc: run.index(doc) if doc in run else len(run)):
            rank = run.index(doc_id) + 1 if doc_id in run else None
            yield {
                "query_id": query_id, "query": data.queries[query_id], "doc_id": doc_id, "title": data.titles[doc_id],
                "passage": data.texts[doc_id], "first_stage_rank": rank, "relevant": doc_id in relevant,
                "balanced": doc_id in balanced,
            }  # fmt: skip


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as a small Parquet file."""
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd", compression_level=19)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
