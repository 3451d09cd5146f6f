"""Every path below output.path, and every key in its files."""

JOB_PATH, PLAN_PATH = "_rank1/job.json", "_rank1/units.parquet"

SETTINGS_PATH, GENERATIONS_PATH = "_rank1/settings.json", "_rank1/generations.json"

ATTEMPTS_FOLDER, DEATHS_FOLDER = "_rank1/attempts", "_rank1/deaths"

JUDGMENTS_FOLDER = "judgments"

COUNTED_PATH = "_rank1/counted.parquet"

KEPT_FOLDER, LAST_RUN_PATH = "_rank1/kept", "_rank1/last_run.json"

FIRST_STAGES_PATH, INPUTS_PATH = "_rank1/first_stages.json", "_rank1/inputs.json"

SUMMARY_PATH, SUCCESS_PATH = "summary.json", "_SUCCESS"

COUNTS_KEY, PROMPT_KEY, GENERATION_KEY = b"rank1_batch", b"rank1_batch.prompt", b"rank1_batch.generation"
"""Keys of the Parquet metadata: a unit's Counts, the id and version of the prompt, how often it was judged again."""

READER_KEY = b"rank1_batch.reader"
"""Key of the Parquet metadata with the id of the reader and its answers, in the order of `answer_logprobs`."""

VERSIONS_KEY, CHANGES_KEY = b"rank1_batch.versions", b"rank1_batch.changes"
"""Keys of the Parquet metadata: the versions of the packages that judged a unit, and what a redo changed in it."""


def judgments_path(unit_id: str) -> str:
    """Where the judgments of a unit are committed."""
    return f"{JUDGMENTS_FOLDER}/{unit_id}.parquet"
