"""The files under `output.path`, one module for each."""
