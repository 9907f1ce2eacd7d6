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
from denseam.study.programmes import programme_of
from denseam.study.report import as_markdown, render
from denseam.study.results import results_of
from denseam.study.stage import Observer, Outcome, Stage, run_stages
from denseam.study.study import Study


@dataclass(frozen=True)
class Reproduction:
    """A finished study and its folder."""

    results: dict[str, Any]
    outcomes: dict[str, Outcome]
    out: Path

    @property
    def report(self) -> Path:
        """Path of the HTML page."""
        return self.out / "report.html"


def reproduce(
    study: Study,
    out: str | Path,
    observer: Observer,
    only: Sequence[str] = (),
    mesh: Mesh | None = None,
) -> Reproduction:
    """Run the stages that are not up to date, and write the report.

    An interrupted study continues with the same call. A second call runs only stages whose inputs
    have changed or whose files are missing.

    Args:
        study: models, images and sizes.
        out: folder, created if missing.
        observer: its methods are called at every stage.
        only: names of stages to run, and the stages they need; all by default. The report covers
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
    stages, out = programme_of(study).stages(study), Path(out)
    names = names_wanted(stages, only)
    if mesh is not None and not mesh.first:
        outcomes = run_stages(stages, out, observer, names)
        return Reproduction(results_of(study, outcomes), outcomes, out)
    with held_folder(out, "running a study"):
        outcomes = run_stages(stages, out, observer, names)
        results = results_of(study, outcomes)
        pictures = _pictures(outcomes, out)
        write_json(out / "results.json", results)
        write_bytes(out / "results.md", as_markdown(results).encode(errors="backslashreplace"))
        write_bytes(
            out / "report.html", render(results, pictures).encode(errors="backslashreplace")
        )
    return Reproduction(results, outcomes, out)


def names_wanted(stages: Sequence[Stage], only: Sequence[str]) -> set[str]:
    """Return the names of the stages to run, all by default, and of the stages they need.

    Raises:
        InputError: for a stage that does not exist.
    """
    by_name = {stage.name: stage for stage in stages}
    unknown = [name for name in only if name not in by_name]
    if unknown:
        raise InputError(f"no stage {', '.join(unknown)}; there are {', '.join(by_name)}")
    names = set(only or by_name)
    for stage in reversed(stages):
        if stage.name in names:
            names.update(stage.needs)
    return names


def _pictures(outcomes: dict[str, Outcome], out: Path) -> dict[str, bytes]:
    """Copy the pictures of all stages into ``figures``, and return them by figure."""
    folder = out / "figures"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pictures = {}
    for outcome in outcomes.values():
        for figure in outcome.findings.figures:
            pictures[figure.id] = (outcome.folder / figure.file).read_bytes()
            write_bytes(folder / f"{figure.id}.png", pictures[figure.id])
    return pictures
