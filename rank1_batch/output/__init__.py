"""What lies under `output.path`: a module a file."""
