"""Measures how good an order is, by people's grades: what `jobs.evaluate` reads, computes and reports."""
