"""The worst case over strong attacks, image by image: the first table of docs/robustness.md.

    python benchmarks/worst_case.py mnist-n30 mine=runs/mine      # names, files, run folders
    python benchmarks/worst_case.py mnist-n30 --count 100 --norms l2 --attacks minimum_norm DDN
    python benchmarks/worst_case.py --tables                      # only the page

MNIST's first test images, in blocks of 50. Each attack writes its distances for a block into
benchmarks/results/worst_case.json at once, under the digest of the model's numbers, so that the
same command continues, and more attacks or images may come later. First the attacks that look for
the smallest change; then, at each size, AutoAttack's four on the images that are left. Sizes are in
[0, 1] units. What counts as adversarial is decided in float64, as in toolkit_tables.py.
"""

import argparse
import statistics
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from pyautoattack import AutoAttack
from tables import Page, Results, markdown
from toolkit_tables import MINIMUM, OWN, ROOT, Norm, Subject, sizes

from denseam.pretrained import load_any
from denseam.saved import describe_model

BLOCK = 50
ATTACKS: dict[Norm, tuple[str, ...]] = {"l2": (OWN, "DDN", "FMN", "BB"), "linf": (OWN, "FMN", "BB")}
STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")  # AutoAttack's set
SIZES: dict[Norm, tuple[float, ...]] = {"l2": (1.5, 2.0), "linf": (0.1, 0.3)}
SHOWN = [(norm, size) for norm, each in SIZES.items() for size in each]

PUBLISHED = [
    ["[Madry et al. 2018](https://arxiv.org/abs/1706.06083), convolutional", "10,000", "", "",
     "", "", "", "88.5 %", "", "AutoAttack"],
    ["[Gowal et al. 2020](https://arxiv.org/abs/2010.03593), WideResNet-28-10", "10,000", "", "",
     "", "", "", "96.34 %", "", "AutoAttack"],
    ["[Schott et al. 2019](https://arxiv.org/abs/1805.09190), ABS", "1,000", "", "80 %", "68 %",
     "2.26", "", "", "", "their best of several, weaker than these"],
    ["[Saralajew et al. 2019](https://arxiv.org/abs/1902.00577), GTLVQ", "", "", "77 %", "",
     "", "", "", "", "their best of several"],
]  # fmt: skip
"""Numbers of others: their images, their attacks."""


def written(distances: list[float | None]) -> str:
    """Return distances as one line of the file of results, "-" for none."""
    return " ".join("-" if each is None else f"{each:g}" for each in distances)


def attack(name: str, first: int, norm: Norm, each: str) -> str:
    """Return distances of a block by an attack for the smallest change; None where it failed."""
    exact = each != OWN  # that one computes as it likes
    of = Subject(name, BLOCK, torch.float64 if exact else torch.float32, first)
    return written(of.distances(MINIMUM[norm][each](of).detach(), norm))


def standard(name: str, first: int, norm: Norm, eps: float, each: str, least: list[float]) -> str:
    """Return ``eps`` for images that one of AutoAttack's moves there; others fell before."""
    of = Subject(name, BLOCK, first=first)
    left = torch.tensor([distance > eps for distance in least]).nonzero()[:, 0]
    distances: list[float | None] = [None] * len(least)
    if len(left):
        run = AutoAttack(of.model, norm=norm.capitalize(), eps=eps, seed=0)
        run.attacks_to_run = [each]
        images = of.images.clone()
        images[left], _ = run.run_standard_evaluation(of.images[left], of.labels[left])
        # AutoAttack's own projection leaves rounding.
        near = sizes(images - of.images, norm) <= eps * (1 + 1e-5)
        for k in (near & of.fooled(images)).nonzero()[:, 0].tolist():
            distances[k] = eps
    return written(distances)


def measure(page: Page, label: str, source: str, options: argparse.Namespace) -> None:
    """Measure what is missing of a model."""
    key = f"{label}@{describe_model(load_any(source))['sha256'][:12]}"
    for first in range(0, options.count, BLOCK):
        for norm in options.norms:
            for each in ATTACKS[norm]:
                piece = f"{key}/{norm}/{each}/{first}"
                if each.rpartition(".")[2] in options.attacks and piece not in page.results():
                    page.measure(piece, lambda n=norm, e=each, f=first: attack(source, f, n, e))
            for eps in SIZES[norm]:
                for each in STANDARD:
                    piece = f"{key}/{norm}/{each} {eps}/{first}"
                    if each in options.attacks and piece not in page.results():
                        least = worst(page.results(), key, norm).get(first)
                        if least is None:
                            raise SystemExit("AutoAttack comes after one attack for small changes")
                        page.measure(
                            piece,
                            lambda n=norm, s=eps, e=each, f=first, d=least: standard(
                                source, f, n, s, e, d
                            ),
                        )


def worst(results: Results, key: str, norm: Norm) -> dict[int, list[float]]:
    """Return the least distance of each image by any attack, by the first image of a block."""
    blocks: dict[int, list[float]] = {}
    for piece, line in results.items():
        name, kind, _, first = piece.rsplit("/", 3)
        if (name, kind) == (key, norm):
            here = [float("inf") if each == "-" else float(each) for each in line.split()]
            before = blocks.get(int(first), here)
            blocks[int(first)] = [min(pair) for pair in zip(before, here, strict=True)]
    return blocks


def names(results: Results, key: str, norm: Norm) -> Iterator[str]:
    """Yield the attacks that a model has met in a norm; those of one size, at every size."""
    start = f"{key}/{norm}/"
    met = {piece.rsplit("/", 2)[1] for piece in results if piece.startswith(start)}
    for each in (*ATTACKS[norm], *STANDARD):
        if each in met or met.issuperset(f"{each} {eps}" for eps in SIZES[norm]):
            yield each.rpartition(".")[2]


def table(results: Results) -> str:
    """Return a row for each model; "-" where nothing was measured."""
    rows = []
    for key in dict.fromkeys(piece.rsplit("/", 3)[0] for piece in results):
        cells: list[str] = []
        clean, count = "-", 0
        for norm, limits in SIZES.items():
            least = [x for block in worst(results, key, norm).values() for x in block]
            if not least:
                cells += ["-"] * (len(limits) + 1)
                continue
            count = max(count, len(least))
            clean = f"{100 * statistics.mean(x == 0 for x in least):.1f} %"
            cells += [f"{100 * statistics.mean(x > eps for x in least):.1f} %" for eps in limits]
            cells.append(f"{statistics.median(least):.3g}")
        by_norm = {norm: ", ".join(names(results, key, norm)) for norm in SIZES}
        attacks = "; ".join(f"{norm}: {met}" for norm, met in by_norm.items() if met)
        rows.append([f"`{key.partition('@')[0]}`", f"{count:,}", clean, *cells, attacks])
    columns: list[str] = []
    for norm, limits in SIZES.items():
        columns += [*(f"{norm.capitalize()} {eps}" for eps in limits), f"median {norm}"]
    return markdown(["model", "images", "error", *columns, "attacks"], [*rows, *PUBLISHED])


PAGE = Page(
    ROOT / "docs/robustness.md", ROOT / "benchmarks/results/worst_case.json", {"worst-case": table}
)


def main() -> None:
    description, _, _ = __doc__.partition("\n")
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("models", nargs="*", metavar="[NAME=]MODEL", help="name, file or folder")
    parser.add_argument("--count", type=int, default=1000, help="images (default: %(default)s)")
    parser.add_argument("--norms", nargs="+", choices=list(SIZES), default=list(SIZES))
    everything = [each.rpartition(".")[2] for each in dict.fromkeys(sum(ATTACKS.values(), ()))]
    everything += STANDARD
    parser.add_argument("--attacks", nargs="+", choices=everything, default=everything)
    parser.add_argument("--tables", action="store_true", help="only write the page")
    options = parser.parse_args()
    for model in [] if options.tables else options.models:
        label, _, source = model.rpartition("=")
        measure(PAGE, label or Path(source).name, source, options)
    PAGE.write()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    main()
