"""Who speaks: voices are told apart over a whole file, in a process of its own."""
