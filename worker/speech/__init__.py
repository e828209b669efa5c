"""Sound to words. Knows nothing of AWS; usable as a library."""
