"""Turns a first-stage run, queries and a corpus into the pair shards that `jobs.rerank` reads."""
