"""The console in a real browser (Debian's Chromium), against the real service."""
