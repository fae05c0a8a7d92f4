"""The page's files, read once: their address changes with their content, so that browsers may keep them for good.

All files share one hash in their path. Modules import each other by relative address and so stay in one version.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from web.console.linker import link, needed

__all__ = ["PREFIX", "PageFile", "PageFiles"]

STATIC = Path(__file__).parent / "static"
PREFIX = "/console"
STYLES = ("base.css", "list.css", "call.css")
ENTRY, EXPORT_ENTRY = "main.js", "export.js"
OPTIONAL = ("handset", "insights")  # modules that the page loads when they are there
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file as it is sent."""

    content_type: str
    body: bytes = field(repr=False)
    zipped: bytes = field(repr=False)


class PageFiles:
    """All files of the page. Reading them blocks; it happens once, when the service starts."""

    def __init__(self, folder: Path = STATIC) -> None:
        sources = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
        self._index = sources.pop("index.html").decode()
        self._text = {name: body.decode() for name, body in sources.items() if name.endswith((".js", ".css", ".svg"))}
        digest = hashlib.sha256(self._index.encode())
        for name, body in sources.items():
            digest.update(name.encode() + b"\0" + body + b"\0")
        self.version = digest.hexdigest()[:16]
        self.files = {name: _file(name, body) for name, body in sources.items()}
        self.page = _file("index.html", self._page().encode())

    @property
    def base(self) -> str:
        return f"{PREFIX}/{self.version}"

    @property
    def styles(self) -> str:
        return "\n".join(self._text[name] for name in self._styles())

    @cached_property
    def export_script(self) -> str:
        """What runs in an exported file."""
        return link(self._text, EXPORT_ENTRY)

    def first_load(self) -> list[str]:
        """The files that the first page needs, beside the page itself."""
        return [*self._styles(), *needed(self._text, ENTRY), "icon.svg"]

    def _styles(self) -> list[str]:
        return [*STYLES, *(f"{name}.css" for name in OPTIONAL if f"{name}.css" in self._text)]

    def _page(self) -> str:
        head = [f'<link rel="stylesheet" href="{self.base}/{name}">' for name in self._styles()]
        head += [f'<link rel="modulepreload" href="{self.base}/{name}">' for name in needed(self._text, ENTRY)]
        head.append(f'<script type="module" src="{self.base}/{ENTRY}"></script>')
        modules = " ".join(name for name in OPTIONAL if f"{name}.js" in self._text)
        page = self._index.replace("{{head}}", "\n".join(head)).replace("{{modules}}", modules)
        return page.replace("{{base}}", self.base)


def _file(name: str, body: bytes) -> PageFile:
    kind = _TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    if name.endswith(".html"):
        kind = "text/html; charset=utf-8"
    return PageFile(kind, body, gzip.compress(body, 9, mtime=0))
