"""Bytes in and out, on disk and in object stores; Parquet files by rows."""
