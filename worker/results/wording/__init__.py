"""What a job's vocabulary and filter make of a text and its words (pure)."""
