"""Models by name: where they lie, whether their host can be reached, and fetching them."""
