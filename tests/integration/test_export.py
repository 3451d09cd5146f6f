"""Labels from NovelEval's pairs and grades, read by the loaders of trainers and trained on for a few steps."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ir_measures
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from rank1_batch.jobs.export.command import main
from rank1_batch.jobs.export.formats import FORMATS
from tests.support.paths import ROOT
from tests.support.scripted import judge_here, read_links
from tests.support.tiny_model import tiny_pairs

PAIRS, QRELS = str(ROOT / "examples/noveleval/pairs"), str(ROOT / "examples/noveleval/qrels.txt")
STEPS = 3
SCRIPTED = "labels.allow_scripted=true"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 420 pairs, judged by the scripted engine; those that speak of Apple are errors."""
    folder = tmp_path_factory.mktemp("judged")
    judge_here(f"input.path={PAIRS}", f"output.path={folder}", "input.unit_rows=50", "engine.args.fail_on=Apple")
    return folder


def settings(judged: Path, labels: Path, *more: str) -> list[str]:
    places = [f"output.path={judged}", f"input.path={PAIRS}", f"labels.path={labels}", f"qrels={QRELS}"]
    return [*places, SCRIPTED, *more]


@pytest.fixture(scope="module")
def labels(judged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every format, with a dev split."""
    folder = tmp_path_factory.mktemp("labels")
    formats = f"format=[{','.join(FORMATS)}]"
    choice = ("labels.dev_share=0.3", "labels.seed=4", "labels.margin=0.2", "labels.max_negatives=4")
    finishes = "labels.finishes=[complete,closed]"
    assert main(settings(judged, folder, formats, finishes, *choice, "labels.shard_rows=120")) == 0
    return folder


@pytest.fixture(scope="module")
def load(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Any]:
    """Loads a format's folder with `datasets`, as trainers do; splits are those of the folder."""
    import datasets

    cache = str(tmp_path_factory.mktemp("cache"))
    return lambda kind, name: datasets.load_dataset(kind, data_dir=str(labels / name), cache_dir=cache)


def read_report(labels: Path) -> dict[str, Any]:
    return dict(json.loads((labels / "labels.json").read_text()))


def test_every_judged_row_is_exported_or_left_out_for_a_reason(labels: Path, judged: Path) -> None:
    report = read_report(labels)
    rows = pq.read_table(judged / "judgments")
    assert report["rows"] == rows.num_rows == 420
    assert report["exported"] + sum(report["left_out"].values()) == 420
    assert report["left_out"]["error"] == sum(error is not None for error in rows["error"].to_pylist()) > 0
    assert report["exported"] == sum(split["positives"] + split["negatives"] for split in report["splits"].values())


@pytest.mark.parametrize("name", FORMATS)
def test_every_record_leads_back_to_its_judgment_and_trace(labels: Path, judged: Path, name: str) -> None:
    judgments = {(row["unit_id"], row["row"]): row for row in pq.read_table(judged / "judgments").to_pylist()}
    links = read_links(labels, name) + read_links(labels, name, "dev")
    assert {link["file"] for link in links} == {
        str(path.relative_to(labels)) for path in (labels / name).rglob("*") if path.is_file()
    }
    for link in links:
        row = judgments[link["unit_id"], link["row"]]
        assert (row["query_id"], row["doc_id"]) == (link["query_id"], link["doc_id"])
        assert row["trace"]
    assert len({(link["unit_id"], link["row"]) for link in links}) == read_report(labels)["exported"]


def test_train_and_dev_share_no_query(labels: Path) -> None:
    train, dev = ({link["query_id"] for link in read_links(labels, "qrels", split)} for split in ("train", "dev"))
    assert train
    assert dev
    assert not train & dev


def test_tevatron_reads_queries_with_scored_passages(load: Callable[[str, str], Any], labels: Path) -> None:
    """The fields that DistilTrainDataset of texttron/tevatron takes out of a line. The scores are log-odds."""
    data = load("json", "tevatron")
    assert set(data) == {"train", "validation"}
    for group in data["train"]:
        assert isinstance(group["query"], str)
        assert group["positive_passages"]
        assert group["negative_passages"]
        for passage in group["positive_passages"] + group["negative_passages"]:
            assert isinstance(passage["title"] + " " + passage["text"], str)
            assert isinstance(passage["docid"], str)
        positive, negative = (
            [1 / (1 + math.exp(-passage["score"])) for passage in group[f"{kind}_passages"]]
            for kind in ("positive", "negative")
        )
        assert min(positive) >= 0.5
        assert min(positive) - max(negative) >= 0.2 - 1e-9


def test_flagembedding_reads_texts_and_teacher_scores(load: Callable[[str, str], Any]) -> None:
    """The fields that AbsEmbedderTrainDataset of FlagOpen/FlagEmbedding takes out of a line."""
    data = load("json", "flagembedding")["train"]
    assert data.column_names == ["query", "pos", "neg", "pos_scores", "neg_scores"]
    for line in data:
        assert line["pos"]
        assert line["neg"]
        assert (len(line["pos"]), len(line["neg"])) == (len(line["pos_scores"]), len(line["neg_scores"]))
        assert all(isinstance(score, float) for score in line["pos_scores"] + line["neg_scores"])


def test_scores_are_a_mapping_of_queries_to_documents(labels: Path, judged: Path) -> None:
    judgments = {
        (row["query_id"], row["doc_id"]): row["score"] for row in pq.read_table(judged / "judgments").to_pylist()
    }
    found: dict[str, dict[str, float]] = {}
    for path in (labels / "scores").rglob("*.json"):
        found |= json.loads(path.read_text())
    assert sum(map(len, found.values())) == read_report(labels)["exported"]
    for query_id, scores in found.items():
        assert scores == {doc_id: judgments[query_id, doc_id] for doc_id in scores}


def test_qrels_are_read_by_ir_measures(labels: Path) -> None:
    qrels = [qrel for path in (labels / "qrels").rglob("*.txt") for qrel in ir_measures.read_trec_qrels(str(path))]
    report = read_report(labels)
    assert len(qrels) == report["exported"]
    positives = sum(split["positives"] for split in report["splits"].values())
    assert sum(qrel.relevance for qrel in qrels) == positives


def test_rank1_lines_put_together_are_the_prompt_and_the_models_answer(
    load: Callable[[str, str], Any], labels: Path, judged: Path
) -> None:
    data = load("json", "rank1")["train"]
    judgments = {(row["unit_id"], row["row"]): row for row in pq.read_table(judged / "judgments").to_pylist()}
    pairs = {row["doc_id"]: row for row in pq.read_table(PAIRS).to_pylist()}
    links = read_links(labels, "rank1")
    assert len(data) == len(links)
    for line, link in zip(data, links, strict=True):
        judgment, pair = judgments[link["unit_id"], link["row"]], pairs[link["doc_id"]]
        prompt = f"{line['instruction']}\n{line['input']}\n{line['output'][:7]}"
        assert prompt == (
            "Determine if the following passage is relevant to the query. Answer only with 'true' or 'false'.\n"
            f"Query: {pair['query']}\nPassage: {pair['passage']}\n<think>"
        )
        trace, verdict = line["output"][7:].split("</think> ")
        assert verdict == str(judgment["label"]).lower()
        assert trace == judgment["trace"] if judgment["finish"] == "complete" else trace.strip() in judgment["trace"]


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Matrices this small only wait for each other's threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """A randomly initialised BERT of one layer, with a tokenizer of letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    letters = sorted({chr(code) for code in range(32, 127)})
    vocabulary = {token: number for number, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = dict(zip(("pad_token", "cls_token", "sep_token", "unk_token"), special, strict=True))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, num_labels=1,  # type: ignore[call-arg] # of every config, taken by name
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("st_triplets", "MarginMSELoss"),
        ("st_triplets", "CachedMultipleNegativesRankingLoss"),
        ("st_pairs", "CoSENTLoss"),
    ],
)
def test_sentence_transformers_trains_an_encoder(
    load: Callable[[str, str], Any], encoder: Path, tmp_path: Path, name: str, loss: str
) -> None:
    import sentence_transformers as st
    from sentence_transformers.sentence_transformer import losses

    model = st.SentenceTransformer(str(encoder), device="cpu")
    arguments = st.SentenceTransformerTrainingArguments(str(tmp_path), **training())
    data = load("parquet", name)
    trainer = st.SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=data["train"], loss=getattr(losses, loss)(model)
    )
    check_training(trainer.train())


@pytest.mark.parametrize(
    ("name", "loss"), [("st_pairs", "BinaryCrossEntropyLoss"), ("st_lists", "LambdaLoss"), ("st_lists", "ListNetLoss")]
)
def test_sentence_transformers_trains_a_cross_encoder(
    load: Callable[[str, str], Any], encoder: Path, tmp_path: Path, name: str, loss: str
) -> None:
    from sentence_transformers import cross_encoder
    from sentence_transformers.cross_encoder import losses

    model = cross_encoder.CrossEncoder(str(encoder), num_labels=1, device="cpu")
    arguments = cross_encoder.CrossEncoderTrainingArguments(str(tmp_path), **training())
    data = load("parquet", name)
    trainer = cross_encoder.CrossEncoderTrainer(
        model=model, args=arguments, train_dataset=data["train"], loss=getattr(losses, loss)(model)
    )
    check_training(trainer.train())


def test_hard_labels_are_trained_on_as_well(judged: Path, encoder: Path, tmp_path: Path) -> None:
    import datasets
    from sentence_transformers import cross_encoder
    from sentence_transformers.cross_encoder import losses

    hard = ("format=[st_pairs,st_triplets]", "labels.targets=label")
    assert main(settings(judged, tmp_path / "labels", *hard)) == 0
    for name, loss in (
        ("st_pairs", losses.BinaryCrossEntropyLoss),
        ("st_triplets", losses.MultipleNegativesRankingLoss),
    ):
        folder, cache = str(tmp_path / "labels" / name), str(tmp_path / "cache")
        data = datasets.load_dataset("parquet", data_dir=folder, cache_dir=cache)["train"]
        model = cross_encoder.CrossEncoder(str(encoder), num_labels=1, device="cpu")
        arguments = cross_encoder.CrossEncoderTrainingArguments(str(tmp_path / "out"), **training())
        trainer = cross_encoder.CrossEncoderTrainer(model=model, args=arguments, train_dataset=data, loss=loss(model))
        check_training(trainer.train())


def test_an_export_of_nothing_says_so_and_has_an_exit_code_of_its_own(
    judged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    places = (f"output.path={judged}", f"labels.path={tmp_path}", "format=qrels", SCRIPTED)
    assert main([*places, "labels.finishes=[no_think]"]) == 10
    assert "Nothing was exported. Loosen the rule" in capfd.readouterr().out
    assert read_report(tmp_path)["left_out"]["finish"] > 0
    assert not (tmp_path / "qrels").exists()


def check_training(outcome: Any) -> None:
    assert outcome.global_step == STEPS
    assert math.isfinite(outcome.training_loss)


def training() -> dict[str, Any]:
    return {
        "max_steps": STEPS,
        "per_device_train_batch_size": 2,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
    }


def test_the_same_settings_give_the_same_bytes(labels: Path, judged: Path, tmp_path: Path) -> None:
    formats = f"format=[{','.join(FORMATS)}]"
    choice = ("labels.dev_share=0.3", "labels.seed=4", "labels.margin=0.2", "labels.max_negatives=4")
    finishes = "labels.finishes=[complete,closed]"
    assert main(settings(judged, tmp_path / "again", formats, finishes, *choice, "labels.shard_rows=120")) == 0
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (labels, tmp_path / "again")
    )
    assert first == second


def test_labels_that_are_there_are_not_made_again_and_others_refused(
    judged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    once = settings(judged, tmp_path / "labels", "format=qrels")
    assert main(once) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "labels").rglob("*")}
    assert main(once) == 0
    assert "nothing to do" in capfd.readouterr().out
    assert main([*once, "labels.seed=1", "labels.ratio=0.9"]) == 6
    message = capfd.readouterr().err
    assert "settings.labels.seed: 0 there, 1 now" in message
    assert "settings.labels.ratio: None there, 0.9 now" in message
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "labels").rglob("*")}


def test_a_place_with_files_of_others_is_refused(
    judged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main(settings(judged, tmp_path, "format=qrels")) == 6
    assert "notes.txt" in capfd.readouterr().err


def test_an_export_that_was_cut_short_is_finished_by_the_same_command(judged: Path, tmp_path: Path) -> None:
    once = settings(judged, tmp_path, "format=[qrels,st_pairs]")
    assert main(once) == 0
    whole = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "labels.json").unlink()
    next((tmp_path / "st_pairs").rglob("*.parquet")).unlink()
    assert main(once) == 0
    assert whole == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_input_that_is_not_what_was_judged_is_refused(
    judged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "pairs"
    changed.mkdir()
    for path in Path(PAIRS).glob("*.parquet"):
        (changed / path.name).write_bytes(path.read_bytes())
    choices = (
        SCRIPTED,
        f"output.path={judged}",
        f"input.path={changed}",
        f"labels.path={tmp_path / 'labels'}",
        "format=st_pairs",
    )
    assert main(choices) == 6
    assert "part-0.parquet changed" in capfd.readouterr().err
    assert not (tmp_path / "labels").exists()


def test_agreement_is_told_on_the_terminal_in_80_columns(
    judged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(settings(judged, tmp_path, "format=qrels", "trust.calibration=isotonic", "labels.keep_without=[positive]"))
        == 0
    )
    lines = capfd.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("verdict: kappa") for line in lines)
    trust = read_report(tmp_path)["trust"]
    assert set(trust["reliability"]) == {"judged", "calibrated"}
    assert trust["fitted_on"]["queries"] + trust["reported_on"]["queries"] == trust["graded"]["queries"]
    assert (tmp_path / "labels.png").read_bytes().startswith(b"\x89PNG")
    assert "trust.calibration: 'isotonic'" in (tmp_path / "labels_card.md").read_text()


def test_self_filter_keeps_pairs_where_the_verdict_agrees_with_people(judged: Path, tmp_path: Path) -> None:
    agree = ("labels.agree_with=qrels", "labels.keep_without=[positive,negative]")
    assert main(settings(judged, tmp_path, "format=qrels", *agree)) == 0
    grades = {(qrel.query_id, qrel.doc_id): qrel.relevance > 0 for qrel in ir_measures.read_trec_qrels(QRELS)}
    found = [qrel for path in (tmp_path / "qrels").rglob("*.txt") for qrel in ir_measures.read_trec_qrels(str(path))]
    assert found
    assert all(grades[qrel.query_id, qrel.doc_id] == bool(qrel.relevance) for qrel in found)
    labels = read_report(tmp_path)["trust"]["labels"]
    assert labels["precision_of_positives"]["value"] == labels["precision_of_negatives"]["value"] == 1.0


def test_a_kept_column_gives_labels_and_nothing_is_written_where_it_cannot(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pairs = tiny_pairs(60)
    (tmp_path / "pairs").mkdir()
    said = pa.array([[True, False, None][row % 3] for row in range(60)])
    wrong = pa.array(["perhaps", *["true"] * 59])
    for shard, spelt in enumerate((said, pc.cast(said, pa.string()).dictionary_encode())):  # one type in no two files
        rows = pairs.append_column("human", spelt).append_column("wrong", wrong)
        pq.write_table(rows.slice(30 * shard, 30), tmp_path / "pairs" / f"{shard}.parquet")
    places = [f"output.path={tmp_path}/judged", f"input.path={tmp_path}/pairs"]
    judge_here(*places, "input.keep=[human,wrong]")
    more = [SCRIPTED, "format=[qrels,st_pairs]", "labels.finishes=[complete,closed]", "labels.keep_without=[negative]"]
    assert main([*places, *more, f"labels.path={tmp_path}/wrong", "labels.source=wrong"]) == 2
    assert "the kept column wrong has 'perhaps'" in capfd.readouterr().err
    assert not (tmp_path / "wrong").exists()
    assert main([*places, *more, f"labels.path={tmp_path}/labels", "labels.source=human"]) == 0
    given = {row["doc_id"]: human for row, human in zip(pairs.to_pylist(), said.to_pylist(), strict=True)}
    links = read_links(tmp_path / "labels", "qrels")
    assert {given[str(link["doc_id"])] for link in links if link["positive"]} == {True}
    assert {given[str(link["doc_id"])] for link in links if not link["positive"]} == {False, None}


def judge_twins(tmp_path: Path) -> list[str]:
    """30 pairs, each judged twice, under query ids of which two share a text."""
    pairs = tiny_pairs(30)
    (tmp_path / "pairs").mkdir()
    ids = pa.array([f"{row['query_id']}{'ab'[number % 2]}" for number, row in enumerate(pairs.to_pylist())])
    pairs = pairs.set_column(pairs.schema.get_field_index("query_id"), "query_id", ids)
    pq.write_table(pa.concat_tables([pairs, pairs]), tmp_path / "pairs" / "0.parquet")
    places = [f"output.path={tmp_path}/judged", f"input.path={tmp_path}/pairs"]
    judge_here(*places)
    rows = pairs.to_pylist()
    (tmp_path / "qrels").write_text("".join(f"{r['query_id']} 0 {r['doc_id']} {n % 2}\n" for n, r in enumerate(rows)))
    return [*places, f"labels.path={tmp_path}/labels", f"qrels={tmp_path}/qrels", SCRIPTED]


def test_a_pair_that_is_there_twice_counts_once_and_equal_texts_are_one_query(tmp_path: Path) -> None:
    finishes = "labels.finishes=[complete,closed]"
    assert main([*judge_twins(tmp_path), "format=st_pairs", finishes, "labels.keep_without=[positive,negative]"]) == 0
    report = read_report(tmp_path / "labels")
    texts = set(pq.read_table(tmp_path / "pairs")["query"].to_pylist())
    assert report["left_out"]["duplicate"] == 30
    assert report["trust"]["graded"] == {"pairs": 30, "relevant": 15, "queries": len(texts)}
    assert report["trust"]["labels"]["graded"]["pairs"] == 30


def test_calibrated_labels_are_measured_on_queries_that_nothing_was_fitted_on(judged: Path, tmp_path: Path) -> None:
    assert (
        main(settings(judged, tmp_path, "format=st_pairs", "trust.calibration=platt", "labels.keep_without=[positive]"))
        == 0
    )
    trust = read_report(tmp_path)["trust"]
    assert 0 < trust["labels"]["graded"]["queries"] <= trust["reported_on"]["queries"]
    assert trust["labels"]["graded"]["queries"] < trust["graded"]["queries"]


def test_a_dry_run_is_not_exported_by_accident(judged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*settings(judged, tmp_path, "format=qrels"), "labels.allow_scripted=false"]) == 2
    assert "this is a dry run (engine=scripted)" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_labels_go_to_object_storage_and_come_from_it(bucket: str, tmp_path: Path) -> None:
    import s3fs

    store = s3fs.S3FileSystem()
    for path in Path(PAIRS).glob("*.parquet"):
        store.put(str(path), f"{bucket}/pairs/{path.name}")
    store.put(QRELS, f"{bucket}/qrels.txt")
    judge_here(f"input.path={bucket}/pairs", f"output.path={bucket}/judged")
    places = (f"output.path={bucket}/judged", f"input.path={bucket}/pairs", f"labels.path={bucket}/labels", SCRIPTED)
    assert main([*places, f"qrels={bucket}/qrels.txt", "format=[st_pairs,tevatron]"]) == 0
    store.invalidate_cache()
    report = json.loads(store.cat(f"{bucket}/labels/labels.json"))
    with store.open(f"{bucket}/labels/st_pairs/train/part-00000.parquet") as file:
        assert pq.read_table(file).num_rows == report["exported"] > 0
