"""Training data in the formats of trainers. Each format is one small function; its docstring names the source.

No format has a column for ids, because sentence-transformers would train on it as text. `links/` says
where each record comes from (files.py). Knows nothing about files.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from rank1_batch.jobs.export.choice import ScoreScale
from rank1_batch.judging.closing import THINK_END, close_reasoning
from rank1_batch.judging.prompts import combine_query, combine_title
from rank1_batch.judging.readers import RANK1

THINK = "<think>"


class Example(NamedTuple):
    """A chosen row: its texts, its label, its score on both scales, and where its judgment is stored.

    `score` is what formats write. It is a probability, or the log-odds after `Query.in_log_odds`.
    """

    doc_id: str
    positive: bool
    score: float
    label: bool
    finish: str
    unit_id: str
    row: int
    candidate: int | None
    passage: str = ""
    title: str | None = None
    trace: str | None = None
    log_odds: float = math.nan

    @property
    def text(self) -> str:
        """The passage as the model read it."""
        return combine_title(self.title, self.passage)


class Query(NamedTuple):
    """A query with its chosen rows, best first. `text` includes the instruction, if there is one."""

    query_id: str
    text: str
    positives: list[Example]
    negatives: list[Example]

    @property
    def examples(self) -> list[Example]:
        """Positives, then negatives."""
        return [*self.positives, *self.negatives]

    def in_log_odds(self) -> "Query":
        """The same query with log-odds as scores."""
        positives, negatives = (
            [example._replace(score=example.log_odds) for example in examples]
            for examples in (self.positives, self.negatives)
        )
        return self._replace(positives=positives, negatives=negatives)


class Style(NamedTuple):
    """What the settings decide about formats: soft targets or 0 and 1, FlagEmbedding's prompt, the judge's prompt."""

    soft: bool = True
    prompt: str | None = None
    template: str = ""
    dataset_prompt: str | None = None


class Record(NamedTuple):
    """A line or row of a training file, and the examples in it in order."""

    value: Any
    examples: tuple[Example, ...]


class Format(NamedTuple):
    """How a format's files are made. Only Parquet formats have a `schema`.

    `scale` is that of its scores, unless the settings name another; None if it has no scores. It is log-odds
    if the trainer takes a softmax over the scores. `needs_both`: the trainer fails on a query without a positive
    or without a negative.
    """

    suffix: str
    build: Callable[[Query, Style], Iterable[Record]]
    schema: Callable[[Style], pa.Schema] | None = None
    scale: ScoreScale | None = None
    needs_text: bool = True
    needs_trace: bool = False
    needs_both: bool = False


def build_tevatron(query: Query, _style: Style) -> Iterator[Record]:
    """A query with scored passages, as Tevatron's distillation reads it.

    Source: texttron/tevatron, README.md ("Training Data") and retriever/dataset.py
    (DistilTrainDataset: `title + ' ' + text`, `score`). The trainer takes a softmax over the scores, so
    they are log-odds. The title is always written, if need be
    empty, because the loader would read a missing title as null.
    """

    def render(example: Example) -> dict[str, Any]:
        title = example.title or ""
        return {"docid": example.doc_id, "title": title, "text": example.passage, "score": example.score}

    value = {
        "query_id": query.query_id,
        "query": query.text,
        "positive_passages": [render(example) for example in query.positives],
        "negative_passages": [render(example) for example in query.negatives],
    }
    yield Record(value, tuple(query.examples))


def build_pairs(query: Query, style: Style) -> Iterator[Record]:
    """A pair and its target: sentence-transformers' "labeled pair".

    Source: sentence-transformers 6.2, util/hard_negatives.py (`output_format="labeled-pair"`: a
    `score` takes the place of the `label`) and base/data_collator.py (the first of label, labels,
    score, scores is the target; every other column is text). For the cross-encoder losses
    BinaryCrossEntropyLoss, CoSENTLoss, MSELoss, …
    """
    target = "score" if style.soft else "label"
    for example in query.examples:
        value = {"query": query.text, "passage": example.text, target: _target(example, style)}
        yield Record(value, (example,))


def build_triplets(query: Query, style: Style) -> Iterator[Record]:
    """Every positive with every negative: sentence-transformers' "triplet".

    Source: as `build_pairs`. `scores` are the scores of the positive and the negative, as MarginMSELoss
    reads them. (Cached)MultipleNegativesRankingLoss ignores them.
    """
    for positive in query.positives:
        for negative in query.negatives:
            value: dict[str, Any] = {"query": query.text, "positive": positive.text, "negative": negative.text}
            if style.soft:
                value["scores"] = [positive.score, negative.score]
            yield Record(value, (positive, negative))


def build_lists(query: Query, style: Style) -> Iterator[Record]:
    """A query with all its passages and their targets: sentence-transformers' "labeled list".

    Source: as `build_pairs`, and cross_encoder/losses/lambda_loss.py (`query`, `docs`, `labels`).
    """
    targets = "scores" if style.soft else "labels"
    texts = [example.text for example in query.examples]
    values = [_target(example, style) for example in query.examples]
    yield Record({"query": query.text, "docs": texts, targets: values}, tuple(query.examples))


def build_flagembedding(query: Query, style: Style) -> Iterator[Record]:
    """A query with its positives and negatives, and their teacher scores.

    Source: FlagOpen/FlagEmbedding, examples/finetune/embedder/README.md ("Data format") and
    abc/finetune/*/AbsDataset.py. The trainer takes a softmax over the teacher scores, so they are
    log-odds. A line's `prompt` replaces the trainer's own instruction, so it is
    written only if the settings ask for it.
    """
    value = {
        "query": query.text,
        "pos": [example.text for example in query.positives],
        "neg": [example.text for example in query.negatives],
        "pos_scores": [example.score for example in query.positives],
        "neg_scores": [example.score for example in query.negatives],
    }
    yield Record(value if style.prompt is None else {**value, "prompt": style.prompt}, tuple(query.examples))


def build_scores(query: Query, _style: Style) -> Iterator[Record]:
    """A query's scores by doc_id: `{query_id: {doc_id: score}}` over a whole file.

    Source: `cross-encoder-ms-marco-MiniLM-L-6-v2-scores.pkl.gz` in the data set
    sentence-transformers/msmarco-hard-negatives (`scores[qid][pid]`), and `score.json` of
    jhu-clsp/rank1-run-files. The first is a pickle with whole numbers as keys. This is JSON with text
    as keys, because loading JSON cannot run code.
    """
    yield Record((query.query_id, {example.doc_id: example.score for example in query.examples}), tuple(query.examples))


def build_qrels(query: Query, _style: Style) -> Iterator[Record]:
    """TREC qrels with one line for each pair: 1 for positives, 0 for negatives.

    Source: trec_eval's get_qrels.c (query_id, iteration, doc_id, relevance, split by blanks).
    """
    for example in query.examples:
        yield Record(f"{query.query_id} 0 {example.doc_id} {int(example.positive)}", (example,))


def build_rank1(query: Query, style: Style) -> Iterator[Record]:
    """The judge's prompt and answer, to train a reasoning reranker: `instruction`, `input`, `output`.

    Source: jhu-clsp/rank1-training-data (`output` is `<think>…</think> true|false`). orionw/rank1
    trains on it with LLaMA-Factory, which joins `instruction`, a newline and `input`. How that data
    set splits the prompt is not published. Here the template's first line is the instruction, and
    its last line, `<think>`, begins the output. The answer is the model's verdict. Reasoning that was
    closed at its budget ends where the verdict was read.
    """
    instruction, _, rest = style.template.removesuffix(f"\n{THINK}").partition("\n")
    asked = combine_query(query.text, None, style.dataset_prompt)
    for example in query.examples:
        trace = example.trace or ""
        reasoning = f"{trace}{THINK_END}" if example.finish == "complete" else close_reasoning(trace)
        value = {
            "instruction": instruction,
            "input": _fill(rest, asked, example.text),
            "output": f"{THINK}{reasoning}{RANK1.answers[0 if example.label else 1].text}",
        }
        yield Record(value, (example,))


def check_qrels_id(name: str) -> list[str]:
    """Why an id cannot be one field of a qrels line. Empty if it can."""
    good = len(name.split()) == 1 and not name.startswith("#")
    return [] if good else [f"format=qrels: the id {name!r} is empty, has blanks or begins with #"]


def check_rank1_template(template: str) -> list[str]:
    """Why a prompt cannot be split into instruction and input. Empty if it can."""
    instruction, _, rest = template.partition("\n")
    if template.endswith(f"\n{THINK}") and "{" not in instruction and "{passage}" in rest:
        return []
    return [f"format=rank1: the judge's prompt must begin with a line without a slot, and end with a line {THINK}"]


def _target(example: Example, style: Style) -> float:
    return example.score if style.soft else float(example.positive)


def _fill(template: str, query: str, passage: str) -> str:
    before, _, after = template.partition("{passage}")
    return before.replace("{query}", query) + passage + after.replace("{query}", query)


def _pairs_schema(style: Style) -> pa.Schema:
    target = "score" if style.soft else "label"
    return pa.schema([("query", pa.string()), ("passage", pa.string()), (target, pa.float64())])


def _triplets_schema(style: Style) -> pa.Schema:
    texts = [(name, pa.string()) for name in ("query", "positive", "negative")]
    return pa.schema([*texts, *([("scores", pa.list_(pa.float64()))] if style.soft else [])])


def _lists_schema(style: Style) -> pa.Schema:
    targets = ("scores" if style.soft else "labels", pa.list_(pa.float64()))
    return pa.schema([("query", pa.string()), ("docs", pa.list_(pa.string())), targets])


FORMATS = {
    "tevatron": Format("jsonl", build_tevatron, scale=ScoreScale.LOG_ODDS, needs_both=True),
    "st_pairs": Format("parquet", build_pairs, _pairs_schema, ScoreScale.PROBABILITY),
    "st_triplets": Format("parquet", build_triplets, _triplets_schema, ScoreScale.PROBABILITY, needs_both=True),
    "st_lists": Format("parquet", build_lists, _lists_schema, ScoreScale.PROBABILITY),
    "flagembedding": Format("jsonl", build_flagembedding, scale=ScoreScale.LOG_ODDS, needs_both=True),
    "scores": Format("json", build_scores, scale=ScoreScale.PROBABILITY, needs_text=False),
    "qrels": Format("txt", build_qrels, needs_text=False),
    "rank1": Format("jsonl", build_rank1, needs_trace=True),
}
"""The formats by the names that `format=` takes."""
