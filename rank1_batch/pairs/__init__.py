"""What is judged: shards of pairs, their columns, and units of them."""
