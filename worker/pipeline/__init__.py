"""One job's way: fetch, hand to the engine, commit; and every other end."""
