"""Runs the engine's own tests against each mutant: one collection, then a forked process for each wrong change.

A change inside a function is made by giving the living function new code, so nothing is imported anew: a mutant takes
some hundredths of a second. What runs on import (rules, constants) has the engine and its tests imported again. Only
tests that ran the function before are asked, those of the module's own files first, the quick ones first, until one
fails. A mutant that makes the tests ten times as slow, or eat memory, is found out as well.
"""

from __future__ import annotations

import builtins
import importlib
import io
import os
import pickle
import resource
import signal
import sys
import time
from ast import fix_missing_locations
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import hypothesis
import pytest

from tests.mutation.mutants import ROOT, Cleaned, Mutant, Source
from tests.mutation.targets import FILES

Function = tuple[str, str]
"""Module and outermost function."""
LEAST_CPU_S, TIMES = 0.5, 5.0  # a test may take so much, and so many times as much as without a mutant
IMPORT_CPU_S = 10.0
LONGEST_S = 120.0  # on the wall: a test that waits for ever uses no processor
MOST_BYTES = 4 << 30
SLOWEST_S = 20.0  # a test that takes longer judges no mutants
KILLED, SURVIVED = 0, 64
OPTIONS = [
    "-q",
    "-x",
    "-c",
    os.devnull,
    "--rootdir",
    str(ROOT),
    "--noconftest",
    "-p",
    "no:cacheprovider",
    "-W",
    "ignore",
]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the tests do without a mutant."""

    seconds: dict[str, float]
    functions: dict[str, frozenset[Function]]
    on_import: frozenset[Function]


@dataclass(slots=True)
class Result:
    """What became of the mutants."""

    killed: list[Mutant] = field(default_factory=list)
    survived: list[Mutant] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def share(self) -> float:
        return len(self.killed) / max(1, len(self.killed) + len(self.survived))


def files_of(modules: Iterable[str]) -> list[str]:
    """The test files that judge these modules, as far as they exist."""
    names = dict.fromkeys(name for module in modules for name in FILES[module])
    return [str(path) for name in names if (path := ROOT / "tests" / f"{name}.py").exists()]


def run(
    sources: Sequence[Source], mutants: Sequence[Mutant], *, told: Callable[[Mutant, bool], None] = lambda m, k: None
) -> Result:
    """Judge these mutants.

    Raises:
        RuntimeError: the tests fail without any mutant, so they can judge none.
    """
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    hypothesis.settings.register_profile(
        "mutation",
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutation")
    loop = _Loop({source.module: source for source in sources}, mutants, told)
    files = files_of(source.module for source in sources)
    output = io.StringIO()
    with redirect_stdout(output):
        pytest.main([*OPTIONS, *files], plugins=[loop])
    if loop.result is None:
        raise RuntimeError(f"the tests cannot judge:\n{loop.problem or output.getvalue()}")
    return loop.result


class _Loop:
    """A pytest plugin: instead of running the tests once, it runs them once for each mutant."""

    def __init__(
        self, sources: dict[str, Source], mutants: Sequence[Mutant], told: Callable[[Mutant, bool], None]
    ) -> None:
        self._sources, self._mutants, self._told = sources, mutants, told
        self.result: Result | None = None
        self.problem = ""

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            self.problem = "they cannot be collected"
            return True
        began = time.monotonic()
        baseline = pickle.loads(_asked(lambda: pickle.dumps(_baseline(session, self._sources))))  # noqa: S301 — our own
        if isinstance(baseline, str):
            self.problem = baseline
            return True
        result = Result()
        items = {item.nodeid: item for item in session.items}
        for mutant in self._mutants:
            killed = self._is_killed(mutant, items, baseline)
            (result.killed if killed else result.survived).append(mutant)
            self._told(mutant, killed)
        result.seconds = time.monotonic() - began
        self.result = result
        return True

    def _is_killed(self, mutant: Mutant, items: dict[str, pytest.Item], baseline: Baseline) -> bool:
        source = self._sources[mutant.module]
        names = _judges(mutant, baseline)
        if not names:
            return False
        importing = not mutant.function or (mutant.module, mutant.function) in baseline.on_import

        def judge() -> int:
            mutant.apply()
            code = compile(fix_missing_locations(Cleaned().visit(source.tree)), str(source.path), "exec")
            if importing:
                return _run_anew(mutant.module, code, names, baseline.seconds)
            _give(mutant, code)
            return _run([items[name] for name in names], baseline.seconds)

        return _forked(judge) != SURVIVED


def _judges(mutant: Mutant, baseline: Baseline) -> list[str]:
    """The tests that may find it, the likeliest and quickest first."""
    if (mutant.module, mutant.function) in baseline.on_import or not mutant.function:
        files = tuple(f"tests/{file}.py::" for file in FILES[mutant.module])
        names = [name for name in baseline.functions if name.startswith(files)]
    else:
        names = [name for name, ran in baseline.functions.items() if (mutant.module, mutant.function) in ran]
    ranks = {f"tests/{file}.py": rank for rank, file in enumerate(FILES[mutant.module])}
    return sorted(names, key=lambda name: (ranks.get(name.partition("::")[0], 99), baseline.seconds[name]))


# --- running tests --------------------------------------------------------------------------------------------------


class _Reports:
    """Whether a test failed; the run's own reporting is switched off."""

    def __init__(self) -> None:
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.failed


def _run(items: Sequence[pytest.Item], seconds: Mapping[str, float]) -> int:
    """Run these until one fails; a test that takes much longer than it should ends the process."""
    reports = _Reports()
    if items:
        items[0].config.pluginmanager.register(reports)
    for item, after in zip(items, [*items[1:], None], strict=True):
        _bound(item.nodeid, seconds)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if reports.failed:
            return KILLED
    return SURVIVED


class _Chosen:
    """Of a fresh collection only these tests, in this order."""

    def __init__(self, names: Sequence[str], seconds: Mapping[str, float]) -> None:
        self._order = {name: index for index, name in enumerate(names)}
        self._seconds = seconds

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        _bound(nodeid, self._seconds)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._order), key=lambda item: self._order[item.nodeid]
        )


def _run_anew(module: str, code: CodeType, names: Sequence[str], seconds: Mapping[str, float]) -> int:
    """With the engine and its tests imported again, one module from this code."""
    for name in [name for name in sys.modules if _is_ours(name)]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Mutated(f"engine.{module}", code))
    files = dict.fromkeys(name.partition("::")[0] for name in names)
    status = pytest.main([*OPTIONS, *(str(ROOT / file) for file in files)], plugins=[_Chosen(names, seconds)])
    return SURVIVED if status == pytest.ExitCode.OK else KILLED


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in ("engine", "actors", "web") or name.startswith(
        ("tests.engine", "tests.stories", "tests.bench")
    )


class _Mutated(MetaPathFinder):
    """Imports one module from changed code."""

    def __init__(self, name: str, code: CodeType) -> None:
        self._name, self._code = name, code

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return spec_from_loader(name, self) if name == self._name else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self._code.co_filename
        builtins.exec(self._code, module.__dict__)  # noqa: S102 — what importing is


# --- what the tests run ---------------------------------------------------------------------------------------------


def _baseline(session: pytest.Session, sources: dict[str, Source]) -> Baseline | str:
    paths = {str(source.path): source.module for source in sources.values()}
    seconds: dict[str, float] = {}
    functions: dict[str, frozenset[Function]] = {}
    for item in session.items:
        began = time.process_time()
        with _watched(paths) as ran:
            found = _run([item], {item.nodeid: SLOWEST_S})
        if found == KILLED:
            return f"{item.nodeid} fails without a mutant"
        seconds[item.nodeid] = time.process_time() - began
        functions[item.nodeid] = frozenset(ran)
    slow = [name for name, took_s in seconds.items() if took_s > SLOWEST_S]
    for name in slow:
        del seconds[name], functions[name]
    return Baseline(seconds, functions, _on_import(paths))


def _on_import(paths: dict[str, str]) -> frozenset[Function]:
    """The functions that run while the modules are imported."""
    for name in [name for name in sys.modules if _is_ours(name)]:
        del sys.modules[name]
    with _watched(paths) as ran:
        for module in paths.values():
            importlib.import_module(f"engine.{module}")
    return frozenset(ran)


class _watched:
    """Which functions of these files are called in the block."""

    def __init__(self, paths: dict[str, str]) -> None:
        self._paths = paths
        self._ran: set[CodeType] = set()
        self._found: set[Function] = set()

    def __enter__(self) -> set[Function]:
        ran, paths = self._ran, self._paths

        def called(frame: FrameType, event: str, argument: object) -> None:
            if event == "call":
                code = frame.f_code
                if code.co_filename in paths:
                    ran.add(code)

        sys.setprofile(called)
        return self._found

    def __exit__(self, *raised: object) -> None:
        sys.setprofile(None)
        for code in self._ran:
            name = code.co_qualname.partition(".<locals>")[0]
            if "<" not in name:
                self._found.add((self._paths[code.co_filename], name))


# --- a function with other code -------------------------------------------------------------------------------------


def _give(mutant: Mutant, code: CodeType) -> None:
    """Give the living function its wrong code, and have all caches forget what the right one said."""
    function = _function(importlib.import_module(f"engine.{mutant.module}"), mutant.function)
    function.__code__ = next(one for one in _codes(code) if one.co_qualname == mutant.function)
    for name, module in list(sys.modules.items()):
        if name.startswith("engine."):
            for thing in vars(module).values():
                forget = getattr(thing, "cache_clear", None)
                if forget is not None:
                    forget()


def _function(module: ModuleType, qualname: str) -> FunctionType:
    thing: Any = module
    for name in qualname.split("."):
        thing = vars(thing)[name]
    match thing:
        case property():
            thing = thing.fget
        case classmethod() | staticmethod():
            thing = thing.__func__
        case cached_property():
            thing = thing.func
    while not isinstance(thing, FunctionType):
        thing = thing.__wrapped__
    return thing


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


# --- processes ------------------------------------------------------------------------------------------------------


def _forked(judge: Callable[[], int]) -> int:
    """What a process of its own says: its exit status, or what ended it."""
    process = os.fork()
    if process == 0:
        status = KILLED  # whatever goes wrong, goes wrong because of the mutant
        try:
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, IMPORT_CPU_S)
            with suppress(ValueError):
                resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
            with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 — a device
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
                with redirect_stdout(nowhere), redirect_stderr(nowhere):
                    status = judge()
        except BaseException:  # also an exit of pytest
            status = KILLED
        finally:
            os._exit(status)
    return os.waitpid(process, 0)[1] >> 8 if _waited(process) else KILLED


def _waited(process: int) -> bool:
    """Whether the process ended by itself; its status stays to be asked for."""
    found = os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    if found is not None and found.si_code == os.CLD_EXITED:
        return True
    os.waitpid(process, 0)
    return False


def _bound(name: str, seconds: Mapping[str, float]) -> None:
    """From now on this test's time."""
    signal.setitimer(signal.ITIMER_PROF, LEAST_CPU_S + TIMES * seconds.get(name, SLOWEST_S))
    signal.alarm(int(LONGEST_S))


def _asked(question: Callable[[], bytes]) -> bytes:
    """What a process of its own answers: its changes of the world go with it."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        signal.signal(signal.SIGPROF, signal.SIG_IGN)
        with os.fdopen(writer, "wb") as pipe, suppress(BaseException):
            pipe.write(question())
            pipe.flush()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(process, 0)
    return answer or pickle.dumps("the tests ended the process")
