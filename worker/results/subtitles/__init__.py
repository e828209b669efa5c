"""Subtitles: a transcript cut into cues, and cues written as srt and vtt (pure)."""
