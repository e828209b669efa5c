"""Media files to windows of features, in child processes."""
