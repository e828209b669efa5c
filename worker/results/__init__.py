"""What is answered: the transcript and the files made of it (pure)."""
