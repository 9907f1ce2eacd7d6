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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from denseam.errors import DenseAMError, InputError
from denseam.files import read_json, write_bytes, write_json
from denseam.study.findings import Findings
from denseam.version import __version__

__all__ = ["Observer", "Outcome", "Place", "Stage", "run_stages"]

_LIST = "stage.json"
_BEGUN = "begun"  # holds the key while the stage runs


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
                start = time.perf_counter()
                found = _run(stage, folder, key, done, observer)
                spent, expected = spent + time.perf_counter() - start, expected + stage.expected
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
        "finished": round(time.time()),
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
