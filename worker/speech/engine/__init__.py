"""The running engine: windows of many files in shared batches."""
