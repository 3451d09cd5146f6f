import functools
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.config import RerankConfig, load_config
from rank1_batch.errors import RefusedError
from rank1_batch.manifest import (
    PROMPT_KEY,
    Counts,
    add_counts,
    build_fingerprint,
    check_output,
    check_same_job,
    claim_output,
    commit_unit,
    committed_units,
    count_deaths,
    find_committed,
    judgments_path,
    read_counts,
    read_first_stages,
    read_plan,
    record_deaths,
    to_parquet,
    write_first_stages,
    write_plan,
)
from rank1_batch.storage import Store, list_files, open_store, read_bytes, write_bytes
from rank1_batch.units import Unit

UNIT = Unit("0123456789abcdef", "part-0.parquet", "etag", 0, 3, 3)
TABLE = pa.table({"score": [0.1, 0.2, 0.3], "trace": ["a", "b", "c"]})
COUNTS = Counts(rows=3, closed=1, complete=2, trace_tokens=99)

units = st.lists(
    st.builds(
        Unit,
        st.text("0123456789abcdef", min_size=16, max_size=16),
        st.text(min_size=1, max_size=20),
        st.text(max_size=20),
        st.integers(0, 2**40),
        st.integers(0, 2**40),
        st.integers(0, 2**40),
    ),
    max_size=20,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "output"))


@functools.cache
def settings(*overrides: str) -> RerankConfig:
    return load_config(["input.path=in", "output.path=out", "engine=scripted", *overrides])


def begin(store: Store, fingerprint: dict[str, object], *, fresh: bool = False) -> None:
    """What a run does before its first unit."""
    check_output(store, fingerprint, fresh=fresh)
    claim_output(store, fingerprint)


def test_an_empty_place_is_claimed_once_and_gone_on_with_afterwards(store: Store) -> None:
    begin(store, {"a": 1})
    before = list_files(store)
    begin(store, {"a": 1})
    assert list_files(store) == before


def test_of_two_jobs_that_start_together_one_claims_the_output(store: Store) -> None:
    def claim(job: int) -> bool:
        try:
            begin(store, {"a": job})
        except RefusedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(claim, range(8)))
    assert sorted(claimed) == [False] * 7 + [True]


class OvertakenFileSystem(LocalFileSystem):
    """Lets something else happen right after a file was not found."""

    cachable = False

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: object) -> bytes:
        try:
            return bytes(super().cat_file(path, start, end, **kwargs))
        except FileNotFoundError:
            self._meanwhile()
            raise


def test_a_run_that_is_overtaken_between_looking_and_claiming_goes_on_with_the_others_job(store: Store) -> None:
    def claim_first() -> None:
        begin(store, {"a": 1})

    overtaken = Store(OvertakenFileSystem(claim_first), store.root, store.url)
    begin(overtaken, {"a": 1})


def test_another_jobs_output_is_refused_with_every_setting_that_differs(store: Store) -> None:
    begin(store, {"model": {"name": "7b", "dtype": "auto"}, "rules": 1, "keep": []})
    with pytest.raises(RefusedError) as caught:
        begin(store, {"model": {"name": "14b", "dtype": "auto"}, "rules": 1, "keep": ["x"]})
    text = str(caught.value)
    assert "model.name: '7b' there, '14b' now" in text
    assert "keep: [] there, ['x'] now" in text
    assert "dtype" not in text
    assert "rules" not in text


def test_files_of_no_job_of_ours_are_never_mixed_with(store: Store) -> None:
    write_bytes(store, "thesis.tex", b"")
    with pytest.raises(RefusedError, match=r"thesis\.tex"):
        begin(store, {})
    assert [file.path for file in list_files(store)] == ["thesis.tex"]


def test_hidden_files_do_not_count_as_files(store: Store) -> None:
    write_bytes(store, ".DS_Store", b"")
    begin(store, {}, fresh=True)


def test_a_fresh_start_wants_an_empty_place(store: Store) -> None:
    begin(store, {"a": 1}, fresh=True)
    with pytest.raises(RefusedError, match="fresh"):
        begin(store, {"a": 1}, fresh=True)


def test_a_setting_that_only_one_of_both_has_differs() -> None:
    with pytest.raises(RefusedError, match=r"args\.seed: None there, 3 now"):
        check_same_job("out", {"args": {}}, {"args": {"seed": 3}})


@pytest.mark.parametrize(
    "override",
    [
        "model=rank1_7b_awq",
        "model.revision=abc",
        "model.dtype=float32",
        "model.quantization=awq",
        "model.max_model_len=12000",
        "prompt.version=2",
        "prompt.dataset_prompt='Claim: FILL_QUERY_HERE'",
        "policy=no_think",
        "policy.max_thinking_tokens=7",
        "input.columns={passage: body}",
        "input.keep=[lang]",
        "engine.args={seconds_per_token: 1}",
    ],
)
def test_whatever_shapes_the_rows_is_in_the_fingerprint(override: str) -> None:
    base = settings("model=custom", "model.name=some/model")
    other = settings("model=custom", "model.name=some/model", override)
    with pytest.raises(RefusedError):
        check_same_job("out", build_fingerprint(base), build_fingerprint(other))


def test_what_cannot_change_a_score_may_change_between_runs() -> None:
    other = settings("cluster.replicas=4", "run.log_every_s=1", "output.max_error_rate=1", "input.unit_rows=7")
    check_same_job("out", build_fingerprint(settings()), build_fingerprint(other))


def test_a_fingerprint_can_be_written_and_read_as_it_is() -> None:
    fingerprint = build_fingerprint(settings())
    assert json.loads(json.dumps(fingerprint)) == fingerprint


def test_a_local_model_is_known_by_its_content_not_by_its_place(tmp_path: Path) -> None:
    fingerprints = []
    for place, heads in (("here", 8), ("there", 8), ("else", 16)):
        folder = tmp_path / place / "model"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"heads": heads}))
        (folder / "model.safetensors").write_bytes(b"weights")
        fingerprints.append(build_fingerprint(settings("model=custom", f"model.name={folder}")))
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


@given(units)
def test_a_plan_is_read_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, units: list[Unit]) -> None:
    store = open_store(str(tmp_path_factory.mktemp("plan")))
    write_plan(store, units[:1])
    write_plan(store, units)
    assert read_plan(store) == units


def test_there_is_no_plan_before_it_is_written(store: Store) -> None:
    assert read_plan(store) == []


def test_first_stages_are_read_back_as_they_were_written(store: Store) -> None:
    assert read_first_stages(store) == []
    write_first_stages(store, [{"run": [{"name": "bm25.trec", "sha256": "0a"}], "depth": None}])
    assert read_first_stages(store) == [{"run": [{"name": "bm25.trec", "sha256": "0a"}], "depth": None}]


def test_a_committed_unit_is_there_with_its_rows_and_counts(store: Store) -> None:
    assert committed_units(store) == set()
    assert commit_unit(store, UNIT, TABLE, COUNTS)
    assert committed_units(store) == {UNIT.unit_id}
    data = io.BytesIO(read_bytes(store, judgments_path(UNIT.unit_id)) or b"")
    assert pq.read_table(data).to_pylist() == TABLE.to_pylist()
    assert read_counts(pq.read_metadata(data)) == COUNTS


def test_what_an_earlier_version_did_not_count_is_none(store: Store) -> None:
    """Units committed before `saturated` and `stray` were counted are read, and add up, as before."""
    table = TABLE.replace_schema_metadata({"rank1_batch": '{"rows": 3, "errors": 1, "trace_tokens": 99}'})
    assert read_counts(pq.read_metadata(io.BytesIO(to_parquet(table)))) == Counts(rows=3, errors=1, trace_tokens=99)


def test_what_a_table_says_of_itself_is_committed_with_it(store: Store) -> None:
    said = {PROMPT_KEY: b'{"id": "scifact", "version": 1}'}
    commit_unit(store, UNIT, TABLE.replace_schema_metadata(said), COUNTS)
    footer = pq.read_metadata(io.BytesIO(read_bytes(store, judgments_path(UNIT.unit_id)) or b""))
    assert said.items() <= footer.metadata.items()
    assert read_counts(footer) == COUNTS


def test_a_committed_unit_is_found_with_its_counts(store: Store) -> None:
    assert find_committed(store, UNIT) is None
    commit_unit(store, UNIT, TABLE, COUNTS)
    assert find_committed(store, UNIT) == COUNTS


def test_the_first_commit_of_a_unit_stands(store: Store) -> None:
    commit_unit(store, UNIT, TABLE, COUNTS)
    before = read_bytes(store, judgments_path(UNIT.unit_id))
    assert commit_unit(store, UNIT, TABLE.slice(0, 3).take([2, 1, 0]), Counts(rows=3)) is False
    assert read_bytes(store, judgments_path(UNIT.unit_id)) == before


@pytest.mark.parametrize("change", [lambda t: t.slice(1), lambda t: pa.concat_tables([t, t]), lambda t: t.slice(3)])
def test_a_unit_with_another_number_of_rows_than_planned_is_not_committed(
    store: Store, change: Callable[[pa.Table], pa.Table]
) -> None:
    with pytest.raises(RuntimeError, match=rf"{UNIT.unit_id}: \d judgments for 3 pairs"):
        commit_unit(store, UNIT, change(TABLE), COUNTS)
    assert list_files(store) == []


def test_half_written_and_foreign_files_are_no_commits(store: Store) -> None:
    write_bytes(store, "judgments/.aaaa.parquet.x7f3", b"PAR1")
    write_bytes(store, "judgments/README", b"")
    assert committed_units(store) == set()


def test_deaths_are_counted_for_each_unit_that_was_in_flight(store: Store) -> None:
    assert count_deaths(store) == {}
    record_deaths(store, ["a", "b"], "first")
    record_deaths(store, ["b"], "second")
    record_deaths(store, ["b"], "second")  # a repeated request is the same death
    assert count_deaths(store) == {"a": 1, "b": 2}


counts = st.builds(Counts, *[st.integers(0, 1000)] * len(Counts._fields))


@given(counts, counts, counts)
def test_counts_add_up_in_any_order(a: Counts, b: Counts, c: Counts) -> None:
    assert add_counts(add_counts(a, b), c) == add_counts(c, add_counts(b, a))
    assert add_counts(a, Counts()) == a


def test_a_table_is_put_as_a_parquet_file_that_anyone_can_read() -> None:
    assert pq.read_table(io.BytesIO(to_parquet(TABLE))).equals(TABLE)
