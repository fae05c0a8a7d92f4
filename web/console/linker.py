"""Our own ES modules as one classic script, for a page that opens from a disk: there a module cannot import another.

Not a bundler for anybody's code. It knows the few forms that the console's modules use, and refuses all others aloud:
`import {a, b as c} from "./x.js"`, `import * as x from "./x.js"`, and `export` before a function, class or const.
Pure: texts in, text out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["LinkError", "link", "needed"]

_IMPORT = re.compile(r'^import (?:\{([^}]*)\}|\* as (\w+)) from "\./([\w-]+\.js)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function\b|class\b|const\b)", re.MULTILINE)
_EXPORTED = re.compile(r"^export (?:async )?(?:function|class|const) (\w+)", re.MULTILINE)
_EXPORT_LIST = re.compile(r"^export \{ ?([\w, ]+?) ?\};$", re.MULTILINE)
_LEFT_OVER = re.compile(r"^(?:import\b|export\b).*$|\bimport\(|\bimport\.meta\b", re.MULTILINE)


class LinkError(ValueError):
    """A module is written in a way that the linker does not know, or two need each other."""


def needed(modules: Mapping[str, str], entry: str) -> list[str]:
    """The entry and all that it imports, each after what it needs itself.

    Raises:
        LinkError: a module is missing, or two need each other.
    """
    order: list[str] = []
    _visit(modules, entry, order, ())
    return order


def link(modules: Mapping[str, str], entry: str) -> str:
    """One script that does what the entry module does.

    Args:
        modules: file name → source.

    Raises:
        LinkError: see `needed`; or a form of import or export that is not known here.
    """
    parts = ['"use strict";', "const modules = {};"]
    for name in needed(modules, entry):
        parts.append(_wrapped(name, modules[name]))
    return "(() => {\n" + "\n".join(parts) + "\n})();\n"


def _visit(modules: Mapping[str, str], name: str, order: list[str], path: tuple[str, ...]) -> None:
    if name in path:
        raise LinkError(f"modules need each other: {' → '.join((*path, name))}")
    if name in order:
        return
    if name not in modules:
        raise LinkError(f"{path[-1] if path else 'somebody'} imports {name}, which is not there")
    for match in _IMPORT.finditer(modules[name]):
        _visit(modules, match[3], order, (*path, name))
    order.append(name)


def _wrapped(name: str, source: str) -> str:
    listed = [one.strip() for match in _EXPORT_LIST.finditer(source) for one in match[1].split(",")]
    exported = [*_EXPORTED.findall(source), *listed]
    body = _EXPORT_LIST.sub("", _EXPORT.sub("", _IMPORT.sub(_as_constant, source)))
    left = _LEFT_OVER.search(body)
    if left is not None:
        raise LinkError(f"{name}: the linker does not know this form: {left[0][:80]}")
    return f'modules["{name}"] = (() => {{\n{body}\nreturn {{ {", ".join(exported)} }};\n}})();'


def _as_constant(match: re.Match[str]) -> str:
    names, whole, module = match[1], match[2], match[3]
    if whole:
        return f'const {whole} = modules["{module}"];'
    renamed = ", ".join(re.sub(r"^\s*(\w+) as (\w+)\s*$", r"\1: \2", one).strip() for one in names.split(","))
    return f'const {{ {renamed} }} = modules["{module}"];'
