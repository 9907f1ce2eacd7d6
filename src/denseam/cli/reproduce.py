"""denseam reproduce: repeat the paper's whole study.

Every table and figure of the paper, from the trained models of the package or from
yours, beside the paper's own numbers: OUT/report.html for people, OUT/results.json for
machines. Results that are up to date are not computed again: after an interruption, the
same command continues.

Examples:
    denseam reproduce
    denseam reproduce --quick
    denseam reproduce --models runs/n2 runs/n30 --dataset fashion-mnist --out results-fashion
    denseam reproduce --train --epochs 300 --out results-mine
    denseam reproduce --only transfer confidence
    denseam reproduce --study memory
    denseam reproduce --study certificates
    denseam reproduce --study robust --models mnist-n30 runs/n30-l2 runs/n30-linf
    torchrun --nproc-per-node 4 -m denseam reproduce
"""

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from denseam.cli.common import (
    add_dataset,
    command_line,
    dataset_of,
    job,
    print_json,
    say_next,
    stderr,
    stdout,
)
from denseam.cli.flags import add_flags, from_fields, from_signature, typed
from denseam.cli.progress import Clock, TrainingBar, duration
from denseam.data import Dataset
from denseam.data.imageset import only_pictures
from denseam.errors import DenseAMWarning, InputError
from denseam.mesh import Mesh
from denseam.model import DenseAM
from denseam.study import (
    PROGRAMMES,
    Plan,
    Reproduction,
    Study,
    Subject,
    default_out,
    names_wanted,
    networks_of_package,
    of_models,
    of_package,
    programme_of,
    reproduce,
    train_models,
)
from denseam.study.report import counts_of, headline_text
from denseam.study.stage import Outcome, Stage
from denseam.training import Recipe
from denseam.training.recipe import COMMAND_EPOCHS

_POWERS, _EPOCHS = from_signature(train_models, "powers", "epochs")
_TRAINING = (
    replace(_POWERS, default=(2.0, 3.0, 20.0, 30.0)),
    replace(_EPOCHS, default=COMMAND_EPOCHS),
    *from_fields(Recipe, "products"),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--study", choices=list(PROGRAMMES), default="paper",
        help=", ".join(f"{name}: {row.about}" for name, row in PROGRAMMES.items())
        + " (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="folder (default: results, or results-quick)")
    parser.add_argument(
        "--quick", action="store_true", help="about a tenth of the images, and says so"
    )
    parser.add_argument(
        "--models", nargs="+", metavar="MODEL",
        help="models to study: names, files or run folders (default: the ones in the package)",
    )  # fmt: skip
    add_dataset(parser)
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="STAGE",
        help="these stages and what they need; --list names them",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="name the stages, run none")
    training = parser.add_argument_group("training")
    training.add_argument(
        "--train", action="store_true", help="train the models first, in OUT/runs"
    )
    add_flags(training, _TRAINING)


def run(args: argparse.Namespace) -> int:
    """Train if asked to, run the stages, say where the report is."""
    if args.train and args.models:
        raise InputError("--train trains the models, --models brings them: give one of the two")
    options = typed(args, _TRAINING)
    if options and not args.train:
        raise InputError(f"--{next(iter(options))} is for --train, which trains models first")
    vars(args).update({flag.name: flag.default for flag in _TRAINING} | options)
    args.out = args.out or Path(default_out(quick=args.quick, programme=args.study))
    images = dataset_of(args)
    only_pictures(images.train, "denseam reproduce")
    study = _study(args, images, _subjects(args, images))
    if args.list:
        _list(programme_of(study).stages(study), args)
        return 0
    names_wanted(programme_of(study).stages(study), args.only)
    try:
        with job(args.command, args.device) as mesh:
            if args.train:
                study = _study(args, images, _trained(args, images, mesh))
            with StageLines() as lines:
                reproduction = reproduce(study, args.out, lines, args.only, mesh)
    except KeyboardInterrupt:
        stderr.print(f"\nstopped; the same command goes on from where it was, in {args.out}")
        raise
    if not mesh.first:
        return 0
    if args.json:
        print_json(reproduction.results)
    else:
        _summary(reproduction, args)
    return 0


def _list(stages: Sequence[Stage], args: argparse.Namespace) -> None:
    if args.json:
        print_json([{"name": stage.name, "title": stage.title} for stage in stages])
        return
    for stage in stages:
        stdout.print(f"{stage.name:34} {stage.title}")


def _study(args: argparse.Namespace, images: Dataset, subjects: list[Subject]) -> Study:
    plan = Plan.smaller() if args.quick else Plan()
    fitted = plan.fitted(images.train, images.test, seed=args.seed)
    memories = tuple(s for s in subjects if s.model.has_energy)
    others = tuple(s for s in subjects if not s.model.has_energy)
    return Study(
        memories, images, args.dataset, fitted, str(args.out), others, args.scale, args.study
    )


def _subjects(args: argparse.Namespace, images: Dataset) -> list[Subject]:
    """Return the models to study; with --train, empty ones that only have the right names."""
    if args.train:
        sizes = images.test.n_visible, images.test.n_classes, 1
        return [Subject(f"n{n:g}", DenseAM(*sizes, n, 1.0), "") for n in args.powers]
    programme = PROGRAMMES[args.study].models if args.dataset == "mnist" else ()
    if sources := args.models or programme:
        return of_models(sources, images, device=args.device)
    if args.dataset == "mnist":
        return [*of_package(device=args.device), *networks_of_package(device=args.device)]
    raise InputError(
        f"the models of the package know mnist, not {args.dataset}: give --models or --train"
    )


def _trained(args: argparse.Namespace, images: Dataset, mesh: Mesh) -> list[Subject]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DenseAMWarning)  # the bar shows them
        return train_models(
            args.powers, images, args.out / "runs", epochs=args.epochs, seed=args.seed,
            products=args.products, device=args.device, callbacks=lambda: [TrainingBar()],
            mesh=mesh,
        )  # fmt: skip


class StageLines:
    """A line for each stage with its time and the time left; on a terminal a bar below them."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"),
            console=stderr, transient=True, disable=not stderr.is_terminal,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._clock, self._title = Clock(), ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def on_start(self, stage: Stage, number: int, total: int, left: float) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._title = f"[{number}/{total}] {stage.title}"
        self._task = self._bar.add_task(self._title, total=None)

    def on_progress(self, done: int, total: int) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total)
        if not stderr.is_terminal and self._clock.due():
            stderr.print(f"{self._title}: {done} of {total}")

    def on_end(self, outcome: Outcome, number: int, total: int, left: float) -> None:
        took = "up to date" if outcome.reused else duration(outcome.seconds)
        rest = f"   about {duration(left)} left" if left and not outcome.reused else ""
        line = f"[{number:>2}/{total}] {outcome.stage.title:<52} {took:>12}{rest}"
        narrow = stderr.is_terminal and len(line) > stderr.width
        stderr.print(" ".join(line.split()) if narrow else line)


def _summary(reproduction: Reproduction, args: argparse.Namespace) -> None:
    """Say what was reproduced, then what was not, then where to look."""
    claims = reproduction.results["claims"]
    judged = [claim for claim in claims if claim["verdict"] != "cannot be compared"]
    if reproduction.results["quick"]:
        stdout.print(reproduction.results["quick_note"])
    for sentence in headline_text(reproduction.results):
        stdout.print(sentence)
    if args.only:  # what was not run is no failure to compare
        what = "these stages alone judge no claim of the paper" if not judged else (
            f"{len(judged)} claims of the paper, of {len(claims)}, are judged by these stages: "
            f"{counts_of(judged)}"
        )  # fmt: skip
        stdout.print(what)
    else:
        stdout.print(f"{len(claims)} claims of the paper: {counts_of(claims)}")
    for claim in judged:
        if claim["verdict"] == "not reproduced":
            stdout.print(f"not reproduced: {claim['where']}, {claim['claim']}")
    stdout.print(f"report in {reproduction.report}, numbers in {reproduction.out / 'results.json'}")
    words: list[object] = ["reproduce", *(["--out", reproduction.out] if args.only else [])]
    words += ["--study", args.study] if args.study != "paper" else []
    words += ["--models", *args.models] if args.models else []
    words += ["--dataset", args.dataset] if args.dataset != "mnist" else []
    if args.only:
        words += ["--quick"] if args.quick else []
        stdout.print("run the other stages with:")
        stdout.print(f"  {command_line(*words)}", soft_wrap=True)
    elif args.quick:
        say_next(*words)
    else:
        others = [name for name in PROGRAMMES if name != args.study]
        say_next("reproduce", "--study", others[0])
