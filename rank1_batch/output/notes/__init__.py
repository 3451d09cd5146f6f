"""What runs note in an output while they work. It spares work, and is never the truth of what is judged."""
