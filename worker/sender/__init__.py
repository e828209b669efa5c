"""Who asks: plans jobs, uploads inputs, sends messages, waits for answers."""
