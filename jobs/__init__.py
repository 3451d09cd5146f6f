"""Starts jobs from a checkout: `python -m jobs.rerank …` is `rank1-batch rerank …`."""
