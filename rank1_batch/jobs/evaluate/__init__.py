"""How good an order is, by people's grades: what `jobs.evaluate` reads, measures and tells."""
