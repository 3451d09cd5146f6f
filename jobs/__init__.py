"""What a user runs: python -m jobs.rerank, and others."""
