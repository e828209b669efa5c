"""What is asked: a message, the jobs in it, and what is wrong with them (pure)."""
