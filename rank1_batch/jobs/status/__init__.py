"""How far a job is, from its output alone."""
