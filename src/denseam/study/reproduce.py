"""The whole study: stages, then results.json, report.html, results.md and their pictures."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denseam.errors import InputError
from denseam.figures.canvas import need_matplotlib
from denseam.files import held_folder, write_bytes, write_json
from denseam.mesh import Mesh
from denseam.study.report import as_markdown, render
from denseam.study.results import results_of
from denseam.study.stage import Observer, Outcome, Stage, run_stages
from denseam.study.stages import all_stages
from denseam.study.study import Study

__all__ = ["Reproduction", "names_wanted", "reproduce"]


@dataclass(frozen=True)
class Reproduction:
    """What a study left in its folder."""

    results: dict[str, Any]
    outcomes: dict[str, Outcome]
    out: Path

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.out / "report.html"


def reproduce(
    study: Study,
    out: str | Path,
    observer: Observer,
    only: Sequence[str] = (),
    mesh: Mesh | None = None,
) -> Reproduction:
    """Run the stages that are not up to date, and write the report.

    Stop it when you like: the same call goes on. Calling again when nothing has changed runs no
    stage; deleting any file brings back that file.

    Args:
        study: models, images and sizes.
        out: folder, made where it does not exist.
        observer: told of every stage.
        only: names of stages to run, with those they need; all by default. The report is of
            everything that is up to date.
        mesh: processes that make the same call and share the stages, on a folder that all of them
            see; the first one writes the report.

    Raises:
        InputError: for a stage that does not exist.
        MissingPackageError: when matplotlib is not installed.
        RunFolderError: when another process is at work in ``out``.
        SaveError: when a result cannot be written.
    """
    need_matplotlib()
    stages, out = all_stages(study), Path(out)
    wanted = names_wanted(stages, only)
    if mesh is not None and not mesh.first:
        outcomes = run_stages(stages, out, observer, wanted)
        return Reproduction(results_of(study, outcomes), outcomes, out)
    with held_folder(out, "running a study"):
        outcomes = run_stages(stages, out, observer, wanted)
        results = results_of(study, outcomes)
        pictures = _pictures(outcomes, out)
        write_json(out / "results.json", results)
        write_bytes(out / "results.md", as_markdown(results).encode())
        write_bytes(out / "report.html", render(results, pictures).encode())
    return Reproduction(results, outcomes, out)


def names_wanted(stages: Sequence[Stage], only: Sequence[str]) -> set[str]:
    """The names of the stages asked for, all by default, and of those they need.

    Raises:
        InputError: for a stage that does not exist.
    """
    by_name = {stage.name: stage for stage in stages}
    unknown = [name for name in only if name not in by_name]
    if unknown:
        raise InputError(f"no stage {', '.join(unknown)}; there are {', '.join(by_name)}")
    wanted = set(only or by_name)
    for stage in reversed(stages):
        if stage.name in wanted:
            wanted.update(stage.needs)
    return wanted


def _pictures(outcomes: dict[str, Outcome], out: Path) -> dict[str, bytes]:
    """The pictures of all stages by figure, which then lie in ``figures`` too."""
    folder = out / "figures"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    found = {}
    for outcome in outcomes.values():
        for figure in outcome.findings.figures:
            found[figure.id] = (outcome.folder / figure.file).read_bytes()
            write_bytes(folder / f"{figure.id}.png", found[figure.id])
    return found
