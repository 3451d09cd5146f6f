"""What runs beside a GPU: one engine, and many units at once."""
