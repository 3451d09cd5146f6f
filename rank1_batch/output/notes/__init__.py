"""What runs note in an output while they work. It saves work. Only commits say what is judged."""
