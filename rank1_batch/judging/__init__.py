"""The pure core: how one pair becomes one judgment. Imports the standard library only."""
