"""Chosen rows of a finished output judged again."""
