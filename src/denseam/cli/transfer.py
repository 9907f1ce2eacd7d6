"""denseam transfer: show how images made against one model fare with others.

Section 5 of the paper: a row for every image set, as `denseam boundary`, `rubbish` and
`attack` write them, a column for every model. Errors against the right labels that the
sets hold (Fig. 5), or with --confidence how sure the models are (Fig. 7), with 95 %
intervals. A set of several sizes of an attack has a row for each. All images count,
failed ones too.

Examples:
    denseam transfer mnist-n2 mnist-n30 --sets n2.safetensors n30.safetensors
    denseam transfer mnist-n2 mnist-n30 --sets n2.npz n30.npz --clean --figure fig5.png
    denseam transfer mnist-n2 mnist-n30 --sets rubbish-n2.npz --confidence --figure fig7.png
    denseam transfer mnist-n2 mnist-n30 --sets rubbish-n2.npz --confidence --beta-sm own
    denseam transfer runs/n2 runs/n30 --sets fgsm.npz --clean --dataset fashion-mnist --json
"""

import argparse
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from rich.text import Text

from denseam.analysis import (
    BETA_SM,
    TransferTable,
    calibrate_beta,
    transfer_confidence,
    transfer_errors,
)
from denseam.classifier import Classifier
from denseam.cli.common import add_dataset, add_model, percent, print_json, say_next, stdout
from denseam.cli.own import examples_for
from denseam.cli.progress import counted
from denseam.cli.rows import Row, first_distinct, read_rows, row_names, samples
from denseam.cli.sets import check_picture
from denseam.cli.tables import FittedTable
from denseam.data import ImageSet
from denseam.data.imageset import only_pictures
from denseam.errors import InputError
from denseam.evaluation import check_fit
from denseam.figures import transfer
from denseam.figures.transfer import TransferMap
from denseam.pretrained import load_any

_SAMPLES = 4  # images of a set beside its row of the figure
_NARROW = 8  # most letters of a name above a column of the figure


@dataclass(frozen=True)
class _Measured:
    """The numbers to print and to draw: V models, R rows."""

    rows: list[Row]  # (R,)
    table: TransferTable
    clean: TransferTable | None
    betas: list[float] | None  # (V,), of confidences

    @property
    def quantity(self) -> str:
        return "error" if self.betas is None else "mean confidence"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_model(parser, "models", nargs="+")
    parser.add_argument("--sets", metavar="SET", nargs="+", required=True, help="image set files")
    parser.add_argument(
        "--confidence", action="store_true", help="the mean confidence, instead of the error"
    )
    parser.add_argument(
        "--beta-sm", type=_beta, nargs="+", metavar="BETA",
        help="of the confidence: one for all models, one for each, or own: where the mean "
        f"confidence on clean images is the accuracy on them (default: {BETA_SM})",
    )  # fmt: skip
    parser.add_argument("--clean", action="store_true", help="a row of clean images below")
    add_dataset(
        parser, default=None,
        text="its test images are the clean ones, see `denseam data` (default: what the models "
        "were trained on)",
    )  # fmt: skip
    parser.add_argument("--figure", type=Path, help="the table in colours: .png, .svg or .pdf")
    parser.set_defaults(part="test")


def run(args: argparse.Namespace) -> int:
    """Measure, draw and print."""
    _check_options(args)
    check_picture(args.figure)
    loaded = [load_any(name, device=args.device) for name in args.models]
    powers = [f"n = {model.power:g}" for model in loaded]
    names = first_distinct(powers, [Path(name).name for name in args.models], args.models)
    measured = _measure(args, dict(zip(names, loaded, strict=True)))
    if args.figure is not None:
        transfer.save(_drawing(measured), args.figure)
    if args.json:
        print_json(_json(args, measured))
        return 0
    stdout.print(_printed(measured))
    if any(row.source is not None for row in measured.rows):
        stdout.print(Text.assemble(("bold", "bold"), ": made against that model itself"))
    if args.figure is not None:
        stdout.print(f"figure in {args.figure}")
    say_next("evaluate", args.models[-1], "--dataset", args.sets[0])
    return 0


def _beta(text: str) -> float | Literal["own"]:
    if text == "own":
        return "own"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: wanted a number > 0, or own")
    return value


def _check_options(args: argparse.Namespace) -> None:
    """Check that the options fit together, before anything is loaded."""
    betas = args.beta_sm or []
    if betas and not args.confidence:
        raise InputError("--beta-sm is for --confidence: errors have none")
    if "own" in betas and len(betas) > 1:
        raise InputError("--beta-sm: own is for all models, wanted nothing beside it")
    if len(betas) not in (0, 1, len(args.models)):
        raise InputError(
            f"--beta-sm: {len(betas)} values for {len(args.models)} models, wanted one for all "
            "or one for each"
        )
    if (args.dataset or args.scale) and not (args.clean or "own" in betas):
        raise InputError("--dataset and --scale are for --clean and for --beta-sm own")
    for names in (args.models, args.sets):
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"{name} is given twice")


def _measure(args: argparse.Namespace, models: Mapping[str, Classifier]) -> _Measured:
    """Measure every set against every model, once all are known to fit."""
    rows = read_rows(args.sets, list(models.values()))
    betas: list[Any] | None = (args.beta_sm or [BETA_SM]) if args.confidence else None
    calibrate = betas == ["own"]
    clean = None
    if args.clean or calibrate:
        named = dict(zip(args.models, models.values(), strict=True))
        clean = only_pictures(examples_for(args, named), "denseam transfer")
    for row in rows:
        _check_fit(models, row.images, row.file)
    if clean is not None:
        _check_fit(models, clean, "clean")
        betas = _calibrated(models, clean) if calibrate else betas
    if betas is not None and len(betas) == 1:
        betas = betas * len(models)

    def measure(sets: Mapping[str, ImageSet]) -> TransferTable:
        if betas is None:
            return transfer_errors(models, sets)
        return transfer_confidence(models, sets, betas)

    names = row_names(rows, tuple(models))
    sets = [{name: row.images} for name, row in zip(names, rows, strict=True)]
    if args.clean and clean is not None:
        sets.append({"clean": clean})
    tables = [measure(each) for each in counted(sets, "transfer")]
    below = tables.pop() if args.clean else None
    return _Measured(rows, _joined(tables), below, betas)


def _check_fit(models: Mapping[str, Classifier], images: ImageSet, what: str) -> None:
    for name, model in models.items():
        try:
            check_fit(model, images)
        except InputError as error:
            raise InputError(f"{what} does not fit {name}: {error}") from error


def _calibrated(models: Mapping[str, Classifier], clean: ImageSet) -> list[float]:
    """Return each model's own beta_sm, (V,)."""
    betas = []
    for name, model in counted(models.items(), "beta_sm"):
        visible = clean.visible(model.memories.dtype, model.memories.device)
        try:
            betas.append(calibrate_beta(model, visible, clean.labels))
        except InputError as error:
            raise InputError(f"--beta-sm own, {name}: {error}") from error
    return betas


def _joined(tables: Sequence[TransferTable]) -> TransferTable:
    """Return the rows of all tables, one below the other."""
    return TransferTable(
        tuple(name for each in tables for name in each.sources),
        tables[0].victims,
        torch.cat([each.values for each in tables]),
        torch.cat([each.intervals for each in tables]),
        tuple(count for each in tables for count in each.counts),
    )


def _json(args: argparse.Namespace, measured: _Measured) -> dict[str, Any]:
    sources = [row.source for row in measured.rows]
    return {
        "quantity": measured.quantity,
        "models": args.models,
        "sets": [row.file for row in measured.rows],
        "made_against": [None if s is None else args.models[s] for s in sources],
        "beta_sm": measured.betas,
        **measured.table.to_json(),
        "clean": None if measured.clean is None else measured.clean.to_json(),
    }


def _drawing(measured: _Measured) -> TransferMap:
    """Return the figure, with narrow names above its columns."""

    def named(table: TransferTable) -> TransferTable:
        return replace(table, victims=tuple(textwrap.fill(v, _NARROW) for v in table.victims))

    clean = None if measured.clean is None else named(measured.clean)
    return TransferMap(
        named(measured.table), measured.quantity, clean, samples(measured.rows, _SAMPLES)
    )


def _printed(measured: _Measured) -> FittedTable:
    title = f"{measured.quantity} of models (columns) on images made against (rows), 95 % intervals"
    names: list[str | Text] = ["", "images"]
    for v, name in enumerate(measured.table.victims):
        beta = "" if measured.betas is None else f"\nbeta_sm {measured.betas[v]:.4g}"
        names.append(Text(name + beta))
    rows = [_cells(measured.table, r, row.source) for r, row in enumerate(measured.rows)]
    printed = FittedTable(title, names, rows, left=[0], repeated=2)
    if measured.clean is not None:
        printed.add_section([_cells(measured.clean, 0, None)])
    return printed


def _cells(values: TransferTable, r: int, source: int | None) -> list[Text]:
    """Return a row: its name, how many images, and for every model the value and its interval."""
    cells = [Text(values.sources[r]), Text(f"{values.counts[r]}")]
    for v, value in enumerate(values.values[r].tolist()):
        low, high = (100 * values.intervals[r, v]).tolist()
        style = "bold" if v == source else ""
        cells.append(Text.assemble((percent(value), style), f"\n{low:.1f} to {high:.1f}"))
    return cells
