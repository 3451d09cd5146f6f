"""A golden set made of what a run judged."""
