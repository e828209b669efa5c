"""What a person types: the commands, their flags and their screens."""
