"""Reads runs, queries, passages and grades from the file formats of the field."""
