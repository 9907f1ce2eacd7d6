"""Stages: named pieces of work whose results stay on disk until something they depend on changes.

A stage owns a folder. What it finds, and a list of its files with their SHA-256, is written last,
under a *content key*: the SHA-256 of the stage's name, revision and settings, of the models and
images it reads, and of what the stages it needs have found and left. A stage whose key is the
same, and whose files are all there and whole, is not run again. A stage that is killed leaves no
list, so what it wrote so far never counts as done; the key it began under stands in the folder,
and under the same key it may go on with what it finds there.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from denseam.errors import DenseAMError, InputError
from denseam.files import held_if_free, read_json, write_bytes, write_json
from denseam.study.findings import Findings
from denseam.version import __version__

__all__ = ["Observer", "Outcome", "Place", "Stage", "run_stages"]

_LIST = "stage.json"
_BEGUN = "begun"  # holds the key while the stage runs
_PAUSE = 0.2  # seconds between looks at what other processes have done


@dataclass(frozen=True)
class Stage:
    """One piece of work."""

    name: str  # also its folder
    title: str  # for people
    command: str  # what runs it alone
    run: Callable[["Place"], Findings]
    settings: Mapping[str, Any] = field(default_factory=dict)  # JSON: what decides the outcome
    inputs: Mapping[str, str] = field(default_factory=dict)  # digests of models and images
    needs: tuple[str, ...] = ()  # names of stages whose files or findings it reads
    expected: float = 1.0  # seconds on two cores, for the time left
    revision: int = 1  # raised when the code would find something else


@dataclass(frozen=True)
class Outcome:
    """A stage that is done."""

    stage: Stage
    findings: Findings
    folder: Path
    key: str
    digest: str  # of its files and findings, commands aside
    seconds: float  # when it ran
    finished: float  # seconds since 1970
    reused: bool = False


@dataclass(frozen=True)
class Place:
    """Where a stage runs: its folder, the stages before it, and whom to tell of progress."""

    folder: Path
    before: Mapping[str, Outcome]
    progress: Callable[[int, int], None]  # done, in all


class Observer(Protocol):
    """Whom ``run_stages`` tells what happens; ``left`` are seconds, a guess."""

    def on_start(self, stage: Stage, number: int, total: int, left: float) -> None:
        """A stage begins to run; ``number`` counts from 1."""

    def on_progress(self, done: int, total: int) -> None:
        """Inside the stage that runs."""

    def on_end(self, outcome: Outcome, number: int, total: int, left: float) -> None:
        """A stage has run, or was found to be up to date."""


def run_stages(
    stages: Sequence[Stage], out: Path, observer: Observer, only: Collection[str] | None = None
) -> dict[str, Outcome]:
    """Run what is not up to date, in order; every stage comes after those it needs.

    Several processes that make the same call on the same folder share the stages: each runs the
    next one that nobody has run or runs, and all of them end with all outcomes.

    Args:
        stages: all of them.
        out: the folder of the study.
        observer: told of every stage that is run, or asked for and up to date.
        only: names of those to run; others are taken as they were left, where up to date.

    Raises:
        InputError: for a stage that needs one which is not before it.
        SaveError: when a result cannot be written.
    """
    work = _Work(stages, out, observer, only)
    while work.open:
        if not work.round():
            time.sleep(_PAUSE)  # others run what is next
    return {stage.name: work.done[stage.name] for stage in stages if stage.name in work.done}


class _Work:
    """The stages of a study, as far as they are done."""

    def __init__(
        self, stages: Sequence[Stage], out: Path, observer: Observer, only: Collection[str] | None
    ) -> None:
        self.wanted = [stage for stage in stages if only is None or stage.name in only]
        self.out, self.observer = out, observer
        self.open = list(stages)
        self.done: dict[str, Outcome] = {}
        self._begun, self._start = time.time(), time.perf_counter()
        self._expected = 0.0  # seconds of what was run since, as it was thought to take
        _check_order(stages, self.wanted)

    def round(self) -> bool:
        """Settle every stage that can be; whether there was one."""
        before = len(self.open)
        for stage in list(self.open):
            if self._settled(stage):
                self.open.remove(stage)
        return len(self.open) < before

    def _settled(self, stage: Stage) -> bool:
        if any(name not in self.done for name in stage.needs):
            if any(other.name in stage.needs for other in self.open):
                return False
            if stage in self.wanted:
                raise InputError(f"stage {stage.name} needs {', '.join(stage.needs)} before it")
            return True
        key, folder = _key(stage, self.done), self.out / "stages" / stage.name
        found = _found(stage, folder, key)
        if stage not in self.wanted:
            if found is not None:
                self.done[stage.name] = found
            return True
        if found is None:
            found = self._run(stage, folder, key)
        elif found.finished > self._begun:  # by another process of this job
            self._expected += stage.expected
            found = replace(found, reused=False)
        if found is None:
            return False
        self.done[stage.name] = found
        self.observer.on_end(found, *self._numbers(stage), self._left(stage))
        return True

    def _run(self, stage: Stage, folder: Path, key: str) -> Outcome | None:
        """Run a stage, unless another process is running it."""
        with held_if_free(folder.with_name(f".{folder.name}.lock")) as held:
            found = _found(stage, folder, key) if held else None
            if not held or found is not None:
                return found
            self.observer.on_start(stage, *self._numbers(stage), self._left())
            found = _run(stage, folder, key, self.done, self.observer)
        self._expected += stage.expected
        return found

    def _numbers(self, stage: Stage) -> tuple[int, int]:
        return self.wanted.index(stage) + 1, len(self.wanted)

    def _left(self, settled: Stage | None = None) -> float:
        """Seconds that the stages still open will take, at the pace so far."""
        spent = time.perf_counter() - self._start
        pace = spent / self._expected if self._expected else 1.0
        coming = [s for s in self.open if s in self.wanted and s is not settled]
        return pace * sum(stage.expected for stage in coming)


def _check_order(stages: Sequence[Stage], wanted: Sequence[Stage]) -> None:
    before: set[str] = set()
    for stage in stages:
        missing = [name for name in stage.needs if name not in before]
        if missing and stage in wanted:
            raise InputError(f"stage {stage.name} needs {', '.join(missing)} before it")
        before.add(stage.name)


def _key(stage: Stage, done: Mapping[str, Outcome]) -> str:
    described = {
        "denseam": __version__,
        "stage": stage.name,
        "revision": stage.revision,
        "settings": dict(stage.settings),
        "inputs": dict(stage.inputs),
        "needs": {name: done[name].digest for name in stage.needs},
    }
    return _sha256_of_json(described)


def _run(
    stage: Stage, folder: Path, key: str, done: Mapping[str, Outcome], observer: Observer
) -> Outcome:
    _prepare(folder, key)
    start = time.perf_counter()
    findings = stage.run(Place(folder, done, observer.on_progress))
    seconds = time.perf_counter() - start
    files = {name: _sha256(folder / name) for name in sorted(findings.files)}
    listed = {
        "stage": stage.name,
        "title": stage.title,
        "command": stage.command,
        "key": key,
        "seconds": round(seconds, 2),
        "finished": round(time.time(), 3),
        "files": files,
        "findings": findings.to_json(),
    }
    listed["sha256"] = _sum(listed)
    write_json(folder / _LIST, listed)
    (folder / _BEGUN).unlink()
    return _outcome(stage, folder, listed, reused=False)


def _prepare(folder: Path, key: str) -> None:
    """Empty the folder, unless a run under this key was interrupted in it."""
    begun = folder / _BEGUN
    interrupted = not (folder / _LIST).exists() and begun.exists() and begun.read_text() == key
    if not interrupted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_bytes(begun, key.encode())


def _found(stage: Stage, folder: Path, key: str) -> Outcome | None:
    """The stage as it was left, if that is what it would come to now."""
    try:
        listed = read_json(folder / _LIST)
        if listed["key"] != key or listed["sha256"] != _sum(listed):
            return None
        whole = all(_sha256(folder / name) == sha for name, sha in listed["files"].items())
        return _outcome(stage, folder, listed, reused=True) if whole else None
    except (OSError, DenseAMError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None  # not there, or not whole: it is run


def _outcome(stage: Stage, folder: Path, listed: Mapping[str, Any], *, reused: bool) -> Outcome:
    findings = Findings.from_json(listed["findings"])
    return Outcome(
        stage,
        findings,
        folder,
        listed["key"],
        _sha256_of_json([listed["files"], findings.without_commands().to_json()]),
        float(listed["seconds"]),
        float(listed["finished"]),
        reused,
    )


def _sum(listed: Mapping[str, Any]) -> str:
    """SHA-256 of a list without its own."""
    return _sha256_of_json({name: value for name, value in listed.items() if name != "sha256"})


def _sha256_of_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
