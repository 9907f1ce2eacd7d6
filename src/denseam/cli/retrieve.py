"""denseam retrieve: bring corrupted pictures back to stored ones.

The memories are those of a trained model, or patterns stored as they are: the first
`--store` of a data set, or the rows of a .npy file. Pictures are FILES, or images of
the data set by `--index`. `--cover` covers or disturbs them first: left, right, top,
bottom, half (by chance), block:0.5, noise:0.3, flip:0.1. Covered pixels are free, the
others stay.

Examples:
    denseam retrieve mnist --index 17 31 --cover right --out eights.png
    denseam retrieve mnist --energy rectified_polynomial --power 30 --cover left --index 0 1 2
    denseam retrieve mnist-n30 --index 3 --cover top --label 0 --out zero.png
    denseam retrieve patterns.npy scan.png --cover noise:0.5 --json
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denseam import energies
from denseam.cli.common import (
    add_dataset,
    add_part,
    foreign,
    images_of,
    load_examples,
    print_json,
    say_next,
    stdout,
)
from denseam.cli.flags import add_flags, from_signature, typed
from denseam.cli.sets import check_picture
from denseam.cli.tables import FittedTable
from denseam.data import Examples
from denseam.data.pictures import pages
from denseam.data.pixels import to_visible
from denseam.data.registry import KNOWN
from denseam.energies import EnergyFunction, Entmax
from denseam.errors import InputError
from denseam.fronts import Pixels
from denseam.model import DenseAM
from denseam.pretrained import load_any
from denseam.retrieval import AssociativeMemory

_FLAGS = from_signature(AssociativeMemory.retrieve, "dynamics", "max_steps", "label")
_ENERGIES = ("exponential", "rectified_polynomial", "polynomial", "entmax", "log_sum_relu")
_MOST = 8  # states in the picture


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "model", metavar="MEMORIES",
        help="a model, a data set such as mnist, a folder of pictures, or a .npy file of patterns",
    )  # fmt: skip
    parser.add_argument("files", nargs="*", metavar="FILE", help="pictures to start from")
    parser.add_argument(
        "--index", type=int, nargs="+", metavar="I",
        help="images: of the stored ones, or of the --dataset where none are stored",
    )  # fmt: skip
    add_dataset(parser, short=False)
    add_part(parser)
    parser.add_argument("--cover", metavar="HOW", help="what to cover, or noise to add")
    parser.add_argument("--invert", action="store_true", help="FILEs are black on white")
    stored = parser.add_argument_group("stored patterns")
    stored.add_argument(
        "--store", type=int, default=2000, metavar="K",
        help="the first K training images of a data set (default: %(default)s)",
    )  # fmt: skip
    stored.add_argument("--energy", choices=_ENERGIES, help="(default: exponential)")
    stored.add_argument("--power", type=float, metavar="N", help="n of a polynomial")
    stored.add_argument(
        "--beta", type=float, help="of the others (default: it separates the patterns)"
    )
    add_flags(parser.add_argument_group("dynamics"), _FLAGS)
    parser.add_argument("--out", type=Path, help="as a picture: .png, .svg or .pdf")


def run(args: argparse.Namespace) -> int:
    """Cover, retrieve, draw, print."""
    check_picture(args.out)
    memory, stored = _memory(args)
    states, names = _states(args, memory, stored)
    covered, known = states, None
    if args.cover is not None:
        covered, known = memory.cover(states, args.cover, seed=args.seed)
    result = memory.retrieve(
        covered, known, seed=args.seed, keep=args.out is not None, **typed(args, _FLAGS)
    )
    agreement = result.agreement(states)
    if args.out is not None:
        result.plot(args.out, most=_MOST)
    if args.json:
        facts = {"memories": args.model, "patterns": len(memory), "energy": repr(
            memory.energy_function), "domain": memory.domain, "cover": args.cover}  # fmt: skip
        print_json({**facts, "names": names, "agreement": agreement.tolist(), **result.to_json()})
        return 0
    stdout.print(f"{memory}")
    rows = [
        (
            foreign(name), str(result.stopped[i]), str(int(result.steps[i])),
            str(int(result.nearest[i])), f"{float(result.overlap[i]):.4f}",
            f"{100 * float(agreement[i]):.2f} %",
            *(() if result.labels is None else (str(int(result.labels[i])),)),
        )
        for i, name in enumerate(names)
    ]  # fmt: skip
    columns = ["state", "stopped", "steps", "nearest", "overlap", "as before"]
    columns += [] if result.labels is None else ["label"]
    stdout.print(FittedTable(None, columns, rows, left=(0, 1)))
    if args.out is not None:
        stdout.print(f"figure in {args.out}")
    say_next("capacity", "--quick")
    return 0


def _memory(args: argparse.Namespace) -> tuple[AssociativeMemory, Examples | None]:
    """Return the memory, and the images it stores, if it stores a data set's."""
    name: str = args.model
    if name.endswith(".npy"):
        return AssociativeMemory.store(name, _energy(args)), None
    if name in KNOWN or Path(name).suffix.lower() in (".npz", ".csv") or _is_pictures(name):
        source = load_examples(args, name)
        images = source if isinstance(source, Examples) else source.train
        if args.store < 1:
            raise InputError(f"--store {args.store}: wanted a number of patterns >= 1")
        images = images.subset(slice(0, args.store))
        return AssociativeMemory.store(images, _energy(args)), images
    if args.energy or args.power or args.beta:
        raise InputError(f"{name} has an energy of its own: --energy is for stored patterns")
    model = load_any(name, device=args.device)
    if not isinstance(model, DenseAM):
        raise InputError(f"{name}: only a DenseAM has memories with an energy, not {model.kind!r}")
    return AssociativeMemory.of_model(model), None


def _is_pictures(name: str) -> bool:
    """Return whether a path is a folder that holds no finished run."""
    return Path(name).is_dir() and not any(Path(name).glob("*.safetensors"))


def _energy(args: argparse.Namespace) -> EnergyFunction | Entmax | str | None:
    """Return the energy that the options name; beta from the patterns where none is given."""
    kind: str | None = args.energy
    if args.power is not None:
        if kind not in (None, "rectified_polynomial", "polynomial"):
            raise InputError(f"--power is for polynomials, not {kind}")
        plain = kind == "polynomial"
        return (energies.Polynomial if plain else energies.RectifiedPolynomial)(args.power)
    if args.beta is not None:
        if kind in ("rectified_polynomial", "polynomial"):
            raise InputError(f"--beta is not for {kind}: give --power")
        table_: dict[str | None, Any] = {
            "entmax": energies.Entmax, "log_sum_relu": energies.LogSumReLU,
        }  # fmt: skip
        made: EnergyFunction | Entmax = table_.get(kind, energies.Exponential)(args.beta)
        return made
    return kind


def _states(
    args: argparse.Namespace, memory: AssociativeMemory, stored: Examples | None
) -> tuple[Tensor, list[str]]:
    """Return the states to start from, (B, N), and what to call them."""
    states, names = [], []
    for path in args.files:
        for number, page in enumerate(pages(path, colour=False)):
            states.append(_picture(page, memory, path, invert=args.invert))
            names.append(path if number == 0 else f"{path} [{number + 1}]")
    if args.index or not states:
        images = stored if stored is not None else images_of(args)
        for i in args.index or [0]:
            if not 0 <= i < len(images):
                raise InputError(f"--index {i}: {images.name} has 0 .. {len(images) - 1}")
            states.append(images.subset([i]).inputs(torch.float32)[0])
            names.append(f"{images.name} {i}")
    dtype = memory.mean_pattern.dtype if memory.patterns.dtype == torch.float64 else torch.float32
    if any(state.numel() != memory.n_visible for state in states):
        sizes = sorted({state.numel() for state in states})
        raise InputError(f"images have {sizes} pixels, the patterns {memory.n_visible}")
    rows = torch.stack(states).to(memory.patterns.device, dtype)
    if memory.domain == "binary":
        rows = torch.where(rows > 0, 1.0, -1.0).to(dtype)
    return rows, names


def _picture(page: Tensor, memory: AssociativeMemory, path: str, *, invert: bool) -> Tensor:
    """Return a grey picture (H, W) as a state, resized to the shape of the patterns."""
    if memory.shape is None:
        raise InputError(f"{path}: {memory.n_visible} components are no picture, give --index")
    visible = to_visible(page, torch.float32, scale=None if page.dtype == torch.uint8 else "unit")
    if tuple(visible.shape) != memory.shape or invert:
        front = Pixels(tuple(visible.shape), memory.shape, invert=invert)
        return front(visible[None])[0]  # type: ignore[no-any-return]
    return visible.flatten()
