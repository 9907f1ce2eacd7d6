"""Stages: named pieces of work whose results stay on disk until something they depend on changes.

A stage owns a folder. What it finds, and a list of its files with their SHA-256, is written last,
under a *content key*: the SHA-256 of the stage's name, revision and settings, of the models and
images it reads, and of the findings of the stages it needs. A stage whose key is the same, and
whose files are all there and whole, is not run again. A stage that is killed leaves no list, so
what it wrote so far never counts as done.
"""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from denseam.errors import FileFormatError, InputError
from denseam.files import read_json, write_json
from denseam.study.findings import Findings
from denseam.version import __version__

__all__ = ["Observer", "Outcome", "Place", "Stage", "run_stages"]

_LIST = "stage.json"


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
    digest: str  # of all its files
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
    """Whom ``run_stages`` tells what happens; seconds left are None before anything is known."""

    def on_start(self, stage: Stage, number: int, total: int, left: float | None) -> None:
        """A stage begins to run; ``number`` counts from 1."""

    def on_progress(self, done: int, total: int) -> None:
        """Inside the stage that runs."""

    def on_end(self, outcome: Outcome, number: int, total: int, left: float | None) -> None:
        """A stage has run, or was found to be up to date."""


def run_stages(
    stages: Sequence[Stage], out: Path, observer: Observer, only: Collection[str] | None = None
) -> dict[str, Outcome]:
    """Run what is not up to date, in order; every stage comes after those it needs.

    Args:
        stages: all of them.
        out: the folder of the study.
        observer: told of every stage that is run, or asked for and up to date.
        only: names of those to run; others are taken as they were left, where up to date.

    Raises:
        InputError: for a stage that needs one which is not before it.
        SaveError: when a result cannot be written.
    """
    done: dict[str, Outcome] = {}
    wanted = [stage for stage in stages if only is None or stage.name in only]
    spent = expected = 0.0

    def left(number: int) -> float:
        """Seconds from the stage of this number on, at the pace so far."""
        pace = spent / expected if expected else 1.0
        return pace * sum(stage.expected for stage in wanted[number - 1 :])

    for stage in stages:
        missing = [name for name in stage.needs if name not in done]
        if missing:
            if stage in wanted:
                raise InputError(f"stage {stage.name} needs {', '.join(missing)} before it")
            continue
        key, folder = _key(stage, done), out / "stages" / stage.name
        found = _found(stage, folder, key)
        if stage in wanted:
            number = wanted.index(stage) + 1
            if found is None:
                observer.on_start(stage, number, len(wanted), left(number))
                found = _run(stage, folder, key, done, observer)
                spent, expected = spent + found.seconds, expected + stage.expected
            observer.on_end(found, number, len(wanted), left(number + 1))
        if found is not None:
            done[stage.name] = found
    return done


def _key(stage: Stage, done: Mapping[str, Outcome]) -> str:
    described = {
        "denseam": __version__,
        "stage": stage.name,
        "revision": stage.revision,
        "settings": dict(stage.settings),
        "inputs": dict(stage.inputs),
        "needs": {name: done[name].digest for name in stage.needs},
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _run(
    stage: Stage, folder: Path, key: str, done: Mapping[str, Outcome], observer: Observer
) -> Outcome:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _LIST).unlink(missing_ok=True)
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
        "finished": round(time.time()),
        "files": files,
        "findings": findings.to_json(),
    }
    write_json(folder / _LIST, listed)
    return _outcome(stage, folder, listed, reused=False)


def _found(stage: Stage, folder: Path, key: str) -> Outcome | None:
    """The stage as it was left, if that is what it would come to now."""
    try:
        listed = read_json(folder / _LIST)
        if listed["key"] != key:
            return None
        whole = all(_sha256(folder / name) == sha for name, sha in listed["files"].items())
        return _outcome(stage, folder, listed, reused=True) if whole else None
    except (OSError, FileFormatError, InputError, KeyError, TypeError, AttributeError):
        return None  # not there, or not whole: it is run


def _outcome(stage: Stage, folder: Path, listed: Mapping[str, Any], *, reused: bool) -> Outcome:
    content = json.dumps([listed["files"], listed["findings"]], sort_keys=True)
    return Outcome(
        stage,
        Findings.from_json(listed["findings"]),
        folder,
        listed["key"],
        hashlib.sha256(content.encode()).hexdigest(),
        float(listed["seconds"]),
        float(listed["finished"]),
        reused,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
