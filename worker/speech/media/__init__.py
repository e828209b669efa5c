"""What a media file is taken for, before any of it is decoded."""
