"""Our own few lines as audio, ready before the first call: an operator's recordings, clips that we ship, or a voice."""

from web.clips.book import line_book

__all__ = ["line_book"]
