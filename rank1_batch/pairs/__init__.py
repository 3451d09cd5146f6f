"""The input: shards of pairs, their columns, and the units they are split into."""
