"""Engines that a judge can ask. All pass tests/contracts."""
