"""Media files to windows, in child processes."""
