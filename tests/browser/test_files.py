"""The page's files, without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from web.console.files import STATIC, PageFiles
from web.console.linker import LinkError, link, needed

FIRST_LOAD_BYTES = 300_000


def test_first_load_is_light() -> None:
    """The first page and all that it needs weigh at most 300 kB, before any compression."""
    files = PageFiles()
    weight = len(files.page.body) + sum(len(files.files[name].body) for name in files.first_load())
    assert weight <= FIRST_LOAD_BYTES, weight


def test_nothing_inline_and_nothing_foreign() -> None:
    """No script or style stands in the page itself, and no address in it leads out of the house."""
    files = PageFiles()
    page = files.page.body.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)
    everything = page + "".join(path.read_text(encoding="utf-8") for path in STATIC.iterdir())
    foreign = set(re.findall(r"https?://[\w.-]+", everything)) - {"http://www.w3.org"}  # a name, never fetched
    assert foreign == set()


def test_every_file_of_the_page_is_there() -> None:
    """What the page asks for at first is what is sent."""
    files = PageFiles()
    asked = re.findall(rf'(?:src|href)="{files.base}/([\w.-]+)', files.page.body.decode())
    assert set(asked) >= set(files.first_load()) - {"icon.svg"}
    assert all(name in files.files for name in asked)


def test_a_changed_file_has_a_new_address(tmp_path: Path) -> None:
    """A browser that keeps files for good never shows an old one."""
    for path in STATIC.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    before = PageFiles(tmp_path).base
    (tmp_path / "row.js").write_text((tmp_path / "row.js").read_text() + "\n// more\n")
    assert PageFiles(tmp_path).base != before


def test_modules_are_linked_in_order() -> None:
    """A module stands after what it needs; names that it renames are its own."""
    modules = {
        "a.js": 'import {b as c} from "./b.js";\nimport * as d from "./d.js";\nconsole.log(c(), d.e);\n',
        "b.js": 'import {e} from "./d.js";\nexport function b() { return e; }\n',
        "d.js": "export const e = 1;\nconst f = 2;\nexport { f };\n",
        "lonely.js": "nobody wants me",
    }
    assert needed(modules, "a.js") == ["d.js", "b.js", "a.js"]
    script = link(modules, "a.js")
    assert 'const { b: c } = modules["b.js"];' in script and 'const d = modules["d.js"];' in script
    assert "return { e, f };" in script and "nobody" not in script
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)


@pytest.mark.parametrize(
    "source",
    [
        'import x from "./b.js";',
        'export default function f() {}',
        'const x = await import("./b.js");',
        'export * from "./b.js";',
        'import {x} from "https://elsewhere/b.js";',
    ],
)  # fmt: skip
def test_what_the_linker_does_not_know_it_refuses(source: str) -> None:
    """A form of module that would come out wrong is told, not guessed at."""
    with pytest.raises(LinkError):
        link({"a.js": source + "\n", "b.js": ""}, "a.js")


def test_modules_that_need_each_other_are_refused() -> None:
    """A circle has no order."""
    with pytest.raises(LinkError, match=r"a\.js → b\.js → a\.js"):
        link({"a.js": 'import {b} from "./b.js";\n', "b.js": 'import {a} from "./a.js";\n'}, "a.js")
