"""The pure core: turns one pair into one judgment. Imports only the standard library."""
