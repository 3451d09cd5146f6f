"""Runs, queries, passages and grades, out of any file that the field knows."""
