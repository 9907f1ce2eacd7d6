"""Stages: named pieces of work whose results stay on disk until something they depend on changes.

A stage owns a folder. Its findings, and a list of its files with their SHA-256, are written last,
with a *content key*: the SHA-256 of the stage's name, revision and settings, of the models and
images it reads, and of the findings and files of the stages it needs. A stage with the same key
and undamaged files is not run again. An interrupted stage leaves no list, so it never counts as
done; the key it began with stands in the folder, and a run with the same key may continue from the
files there.
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

_LIST = "stage.json"
_BEGUN = "begun"  # holds the key while the stage runs
_PRIOR = 60.0  # seconds of expected work by which the expectations count against the pace seen
_PAUSE = 0.2  # seconds between looks at what other processes have done


@dataclass(frozen=True)
class Stage:
    """One piece of work."""

    name: str  # also its folder
    title: str  # for people
    command: str  # what runs it alone
    run: Callable[["Place"], Findings]
    settings: Mapping[str, Any] = field(default_factory=dict)  # JSON; they decide the outcome
    inputs: Mapping[str, str] = field(default_factory=dict)  # digests of models and images
    needs: tuple[str, ...] = ()  # names of stages whose files or findings it reads
    expected: float = 1.0  # seconds on two cores, for the time left
    revision: int = 1  # raised when new code gives other results


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
    """Surroundings of a running stage: its folder, the stages before it, a progress callback."""

    folder: Path
    before: Mapping[str, Outcome]
    progress: Callable[[int, int], None]  # done, in all


class Observer(Protocol):
    """Methods that ``run_stages`` calls; ``left`` estimates the seconds left."""

    def on_start(self, stage: Stage, number: int, total: int, left: float) -> None:
        """Take note that a stage begins; ``number`` counts from 1."""

    def on_progress(self, done: int, total: int) -> None:
        """Take note of progress within the running stage."""

    def on_end(self, outcome: Outcome, number: int, total: int, left: float) -> None:
        """Take note that a stage has run, or is up to date."""


def run_stages(
    stages: Sequence[Stage], out: Path, observer: Observer, only: Collection[str] | None = None
) -> dict[str, Outcome]:
    """Run the stages that are not up to date, in order; each comes after the stages it needs.

    Several processes that make the same call on the same folder share the stages: each takes the
    next free one, and all of them return all outcomes.

    Args:
        stages: all stages.
        out: folder of the study.
        observer: its methods are called at every stage that runs, or is asked for and up to date.
        only: names of the stages to run; of the others, outcomes that are up to date are used.

    Raises:
        InputError: for a stage that comes before one it needs.
        SaveError: when a result cannot be written.
    """
    work = _Work(stages, out, observer, only)
    while work.open:
        if not work.round():
            time.sleep(_PAUSE)  # other processes run the next stages
    return {stage.name: work.done[stage.name] for stage in stages if stage.name in work.done}


class _Work:
    """The open and the finished stages of a study."""

    def __init__(
        self, stages: Sequence[Stage], out: Path, observer: Observer, only: Collection[str] | None
    ) -> None:
        self.chosen = [stage for stage in stages if only is None or stage.name in only]
        self.out, self.observer = out, observer
        self.open = list(stages)
        self.done: dict[str, Outcome] = {}
        self._begun, self._start = time.time(), time.perf_counter()
        self._expected = 0.0  # seconds that the stages run since then were expected to take
        _check_order(stages, self.chosen)

    def round(self) -> bool:
        """Settle every stage that can be settled; return whether there was one."""
        before = len(self.open)
        for stage in list(self.open):
            if self._settled(stage):
                self.open.remove(stage)
        return len(self.open) < before

    def _settled(self, stage: Stage) -> bool:
        if any(name not in self.done for name in stage.needs):
            if any(other.name in stage.needs for other in self.open):
                return False
            if stage in self.chosen:
                raise InputError(f"stage {stage.name} needs {', '.join(stage.needs)} before it")
            return True
        key, folder = _key(stage, self.done), self.out / "stages" / stage.name
        outcome = _on_disk(stage, folder, key)
        if stage not in self.chosen:
            if outcome is not None:
                self.done[stage.name] = outcome
            return True
        if outcome is None:
            outcome = self._run(stage, folder, key)
        elif outcome.finished > self._begun:  # by another process of this job
            self._expected += stage.expected
            outcome = replace(outcome, reused=False)
        if outcome is None:
            return False
        self.done[stage.name] = outcome
        self.observer.on_end(outcome, *self._numbers(stage), self._left(stage))
        return True

    def _run(self, stage: Stage, folder: Path, key: str) -> Outcome | None:
        """Run a stage, unless another process is running it."""
        with held_if_free(folder.with_name(f".{folder.name}.lock")) as held:
            outcome = _on_disk(stage, folder, key) if held else None
            if not held or outcome is not None:
                return outcome
            self.observer.on_start(stage, *self._numbers(stage), self._left())
            outcome = _run(stage, folder, key, self.done, self.observer)
        self._expected += stage.expected
        return outcome

    def _numbers(self, stage: Stage) -> tuple[int, int]:
        return self.chosen.index(stage) + 1, len(self.chosen)

    def _left(self, settled: Stage | None = None) -> float:
        """Estimate the seconds that the open stages will take, at the pace so far.

        The first stages are short, and what is done once weighs on them: the pace is believed as
        far as work has been seen.
        """
        spent = time.perf_counter() - self._start
        pace = (spent + _PRIOR) / (self._expected + _PRIOR)
        coming = [s for s in self.open if s in self.chosen and s is not settled]
        return pace * sum(stage.expected for stage in coming)


def _check_order(stages: Sequence[Stage], chosen: Sequence[Stage]) -> None:
    before: set[str] = set()
    for stage in stages:
        missing = [name for name in stage.needs if name not in before]
        if missing and stage in chosen:
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


def _on_disk(stage: Stage, folder: Path, key: str) -> Outcome | None:
    """Return the outcome on disk, if a run would give the same."""
    try:
        listed = read_json(folder / _LIST)
        if listed["key"] != key or listed["sha256"] != _sum(listed):
            return None
        whole = all(_sha256(folder / name) == sha for name, sha in listed["files"].items())
        return _outcome(stage, folder, listed, reused=True) if whole else None
    except (OSError, DenseAMError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None  # missing or damaged: the stage runs


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
    """Return the SHA-256 of a list without the list's own."""
    return _sha256_of_json({name: value for name, value in listed.items() if name != "sha256"})


def _sha256_of_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
