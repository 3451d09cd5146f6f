"""The names of columns, spelled once."""

QUERY_ID, QUERY, DOC_ID, PASSAGE = "query_id", "query", "doc_id", "passage"

TITLE, INSTRUCTION = "title", "instruction"

FIRST_STAGE_SCORE, FIRST_STAGE_RANK = "first_stage_score", "first_stage_rank"

CANDIDATES, CANDIDATE = "candidates", "candidate"

PROMPT_TOKENS, TRACE_TOKENS, PASSAGE_TRUNCATED = "prompt_tokens", "trace_tokens", "passage_truncated"

RANK = "rank"

UNIT_ID, ROW, ERROR, SCORE, FINISH, TRACE, LABEL = "unit_id", "row", "error", "score", "finish", "trace", "label"

TRUE_LOGPROB, FALSE_LOGPROB = "true_logprob", "false_logprob"

ANSWER_LOGPROBS, GRADE = "answer_logprobs", "grade"

REQUIRED = (QUERY_ID, QUERY, DOC_ID, PASSAGE)

OPTIONAL = (TITLE, INSTRUCTION, FIRST_STAGE_SCORE, FIRST_STAGE_RANK)

FILE_NAMES = {
    QUERY_ID: (QUERY_ID, "_id", "id", "qid"),
    QUERY: (QUERY, "text"),
    INSTRUCTION: (INSTRUCTION,),
    DOC_ID: (DOC_ID, "_id", "id", "docid", "docno", "pid"),
    PASSAGE: (PASSAGE, "text", "contents"),
    TITLE: (TITLE,),
    SCORE: (SCORE, FIRST_STAGE_SCORE),
    RANK: (RANK, FIRST_STAGE_RANK),
}
"""Names that files of runs, queries and passages use for our columns. The first one found counts."""

FIRST_STAGE_KEY = b"rank1_batch.first_stage"
"""Key of the Parquet metadata that says, as JSON, which run the pairs came from."""

JUDGMENT = (
    SCORE, TRUE_LOGPROB, FALSE_LOGPROB, LABEL, FINISH, TRACE, PROMPT_TOKENS, TRACE_TOKENS, PASSAGE_TRUNCATED, ERROR,
    ANSWER_LOGPROBS, GRADE,
)  # fmt: skip
"""The columns of a Judgment, in its order."""
RESERVED = {QUERY_ID, DOC_ID, UNIT_ID, ROW, CANDIDATE, FIRST_STAGE_SCORE, FIRST_STAGE_RANK, *JUDGMENT}
"""Output columns that `input.keep` may not name."""
