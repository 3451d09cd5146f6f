"""Turns judgments into training data: chosen rows in the formats of trainers, and how far to trust them."""
