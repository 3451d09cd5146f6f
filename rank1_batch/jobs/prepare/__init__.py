"""From a first-stage run, queries and a corpus to the pair shards that `jobs.rerank` reads."""
