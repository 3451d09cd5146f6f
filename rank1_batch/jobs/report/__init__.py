"""A report of an output that people open in a browser: what `jobs.report` reads, counts and draws."""
