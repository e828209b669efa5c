"""The model and the machine: weights, device, memory, Whisper itself."""
