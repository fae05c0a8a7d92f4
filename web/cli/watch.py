"""`callscope watch`: live calls, and one call's lanes, in the terminal."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
from cyclopts import Parameter
from rich.console import Console

from actors.journal_reader import NoJournal, UnknownCall
from engine.errors import BadSettings
from web.watch.keys import keys_from, raw_keys
from web.watch.sources import HttpSource, JournalSource, Source
from web.watch.watching import watch_plain, watch_screen

PIPE_COLUMNS = 240


def watch(
    call: str = "",
    /,
    *,
    url: str = "",
    key: Annotated[str, Parameter(env_var="CALLSCOPE_KEY")] = "",
    data: Annotated[Path, Parameter(env_var="CALLSCOPE_DATA")] = Path("callscope-data"),
    plain: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
) -> None:
    """Watch live calls; or one call, with its lanes.

    Parameters
    ----------
    call:
        A call's id, the beginning of its id, or `last`; the list of calls when left out.
    url:
        Watch a service at this address instead of a folder.
    key:
        The key that the service wants. An environment variable is safer: other users see command lines.
    data:
        Where callscope keeps its journal.
    plain:
        Lines instead of a screen; always so when the output is no terminal.
    """
    source: Source = HttpSource(url.rstrip("/"), key) if url else JournalSource(data)
    try:
        _run(source, call, plain=plain or not (sys.stdout.isatty() and sys.stdin.isatty()))
    except* KeyboardInterrupt:
        pass  # the way to leave
    except* (UnknownCall, NoJournal, BadSettings) as group:
        raise BadSettings(_sentence(_first(group), source)) from None


def _run(source: Source, call: str, *, plain: bool) -> None:
    if plain:
        console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False)
        trio.run(partial(watch_plain, source, console, call=call))
        return
    fd = sys.stdin.fileno()
    with raw_keys(fd):
        trio.run(partial(watch_screen, source, Console(highlight=False), keys_from(fd), call=call))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    one: BaseException = group
    while isinstance(one, BaseExceptionGroup):
        one = one.exceptions[0]
    return one


def _sentence(trouble: BaseException, source: Source) -> str:
    if isinstance(trouble, NoJournal):
        return f"no calls in {source.name} yet; --data or CALLSCOPE_DATA looks elsewhere, --url asks a service"
    if isinstance(trouble, UnknownCall):
        if trouble.candidates:
            return f"several calls begin with {trouble.wanted!r}: {', '.join(trouble.candidates)}"
        return f"no call {trouble.wanted!r} in {source.name}; without a name all calls are shown"
    return str(trouble)
