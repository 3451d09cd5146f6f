"""What every command line shares: settings in, an exit code out."""
