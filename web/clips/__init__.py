"""Our own few lines as audio, ready before the first call: an operator's recordings, clips that we ship, or a voice."""

from web.clips.book import holding_clip, line_book

__all__ = ["holding_clip", "line_book"]
