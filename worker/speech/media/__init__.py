"""Any media file to mono samples at 16 kHz, on the file's own clock."""
