"""Measurements of the guard, for docs/guard.md.

    python benchmarks/guard_tables.py                 # every piece that has no result yet
    python benchmarks/guard_tables.py 'adaptive/*'    # some; --again: also pieces with a result
    python benchmarks/guard_tables.py --tables        # only the page's tables and figure
    python benchmarks/guard_tables.py --detector robust=runs/n30-l2 'adaptive/*'  # another detector

Another detector's results are kept in a file of their own, guard-NAME.json; its tables are printed,
and it gets rows in the page's table of detectors.

Each piece writes its result into benchmarks/results/guard.json at once, so that the same command
continues an interrupted run. Images made for it are kept in runs/guard. Needs
matplotlib (letters) and scikit-learn (photographs, small digits), as the development set has them.
"""

import argparse
import math
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import load_file, save_file
from scipy.stats import betabinom, binom
from sklearn.datasets import load_digits, load_sample_images
from tables import Page, Results, command, markdown
from torch import Tensor

import denseam
from denseam.data import ImageSet
from denseam.files import read_json, write_json
from denseam.guard import DEFAULT_SCORE, SCORES, Guard
from denseam.guard.adaptive import AdaptiveResult, accept_noise, adaptive_attack
from denseam.guard.evaluation import GuardEvaluation, Trial, evaluate_guard, make_trials
from denseam.guard.known import KNOWN
from denseam.guard.metrics import coverage_risk
from denseam.pretrained import load_any

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs/images"
CACHE = ROOT / "runs/guard"

USUAL = "mnist-n30"
DETECTOR = USUAL  # or as --detector says
CLASSIFIERS = ("mnist-n2", "mnist-relu")
ATTACKED = ("mnist-n2", "mnist-n3", "mnist-n20", "mnist-n30", "mnist-relu")
COMBINED = ("gap+log_energy", "confidence+log_energy+distance", "gap+profile")
RATE = 0.01
SPLITS = 20
MADE = 300  # held-out test images that trials are made of
LEAST = 20  # images of a set: what holds for fewer says nothing
COUNT = 100  # images of the adaptive attack
LIMITS = {"l2": 3.0, "linf": 0.2}  # visible units: 1.5 and 0.1 in [0, 1]

FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique",
    "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold",
    "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic", "STIXGeneral", "STIXGeneralBol",
    "STIXGeneralItalic", "cmr10", "cmb10", "cmss10", "cmtt10", "cmti10",
)  # fmt: skip


# ---- images ------------------------------------------------------------------------------------


@cache
def mnist() -> denseam.data.Dataset:
    return denseam.data.load("mnist")


def split(seed: int) -> tuple[ImageSet, ImageSet]:
    """Return half of the test images to calibrate on, and the other half."""
    test = mnist().test
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))
    return test.subset(order[: len(test) // 2]), test.subset(order[len(test) // 2 :])


@cache
def model(name: str) -> denseam.DenseAM:
    return load_any(name)


def letters(text: str = "ABCDEFGHIJ", sizes: tuple[int, ...] = (18, 20, 22, 24)) -> Tensor:
    """Draw white letters on black, (M, 784), like notMNIST."""
    drawn = []
    for font in FONTS:
        path = Path(mpl.get_data_path(), "fonts", "ttf", f"{font}.ttf")
        for size in sizes:
            shape = ImageFont.truetype(path, size)
            for letter in text:
                image = Image.new("L", (28, 28), 0)
                ImageDraw.Draw(image).text((14, 14), letter, fill=255, font=shape, anchor="mm")
                drawn.append(np.asarray(image))
    return visible(np.stack(drawn))


def photographs(count: int = 1000) -> Tensor:
    """Cut patches of scikit-learn's two photographs, gray and halved, (M, 784)."""
    generator = np.random.default_rng(0)
    pictures = [Image.fromarray(photo).convert("L") for photo in load_sample_images().images]
    grays = [np.asarray(p.resize((p.width // 2, p.height // 2))) for p in pictures]
    patches = []
    for k in range(count):
        gray = grays[k % len(grays)]
        y, x = (int(generator.integers(0, size - 28)) for size in gray.shape)
        patches.append(gray[y : y + 28, x : x + 28])
    return visible(np.stack(patches))


def small_digits() -> tuple[Tensor, Tensor]:
    """Return scikit-learn's 8 x 8 digits, scaled to MNIST's frame, with labels."""
    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None] / 16
    large = torch.nn.functional.interpolate(images, (20, 20), mode="bilinear")
    whole = torch.nn.functional.pad(large.clamp(0, 1), (4, 4, 4, 4))
    return (2 * whole - 1).flatten(1), torch.from_numpy(digits.target)


def visible(images: np.ndarray) -> Tensor:
    return (torch.from_numpy(images.copy()).float() / 127.5 - 1).flatten(1)


@cache
def trials() -> tuple[Trial, ...]:
    """Return trials made for the page, kept in a file, and other images at hand."""
    file, names = CACHE / "trials.safetensors", CACHE / "trials.json"
    if not names.exists():
        made = make_trials(split(0)[1].subset(slice(MADE)), {n: model(n) for n in ATTACKED})
        CACHE.mkdir(parents=True, exist_ok=True)
        tensors = {f"{k}.visible": t.visible for k, t in enumerate(made)}
        tensors |= {
            f"{k}.labels": t.labels.clone() for k, t in enumerate(made) if t.labels is not None
        }
        save_file(tensors, file)
        write_json(names, [[t.name, t.kind] for t in made])
    saved = load_file(file)
    made = [
        Trial(name, kind, saved[f"{k}.visible"], saved.get(f"{k}.labels"))
        for k, (name, kind) in enumerate(read_json(names))
    ]
    flipped = split(0)[1].subset(slice(1000)).visible().reshape(-1, 28, 28).flip(2).flatten(1)
    digits, labels = small_digits()
    more = [
        Trial("letters A to J", "junk", letters()),
        Trial("patches of photographs", "junk", photographs()),
        Trial("mirrored digits", "other", flipped),
        Trial("scikit-learn's 8 x 8 digits", "other", digits, labels),
    ]
    try:
        fashion = denseam.data.load("fashion-mnist").test.subset(slice(1000))
        more.append(Trial("Fashion-MNIST", "junk", fashion.visible()))
    except denseam.errors.DataUnavailableError:
        pass  # there is no network here; the table then has no such row
    return (*made, *more)


# ---- pieces ------------------------------------------------------------------------------------


def guard_of(score: str, classifier: str = "mnist-relu", seed: int = 0) -> Guard:
    guard = Guard(model(DETECTOR), model(classifier), score=score)
    return guard.calibrate(split(seed)[0], RATE, seed=seed)


def promise(score: str) -> dict[str, Any]:
    """Count rejected held-out clean images for 20 random halves."""
    rows = []
    for seed in range(SPLITS):
        guard, held_out = guard_of(score, seed=seed), split(seed)[1]
        verdicts = guard.predict(held_out)
        rows.append([verdicts.n_rejected, len(verdicts), guard.to_json()["n_calibration"]])
    return {"rows": rows}


def shifted() -> dict[str, Any]:
    """Calibrate on images that are not exchangeable with the test images."""
    train, test = mnist().train, mnist().test
    half = len(test) // 2
    pairs = {
        "training images": (train.subset(slice(10_000)), test),
        "first half of the test images": (test.subset(slice(half)), test.subset(slice(half, None))),
        "second half of the test images": (
            test.subset(slice(half, None)),
            test.subset(slice(half)),
        ),
    }
    shares = {}
    for name, (clean, others) in pairs.items():
        for score in (DEFAULT_SCORE, "gap+log_energy"):
            guard = Guard(model(DETECTOR), model("mnist-relu"), score=score).calibrate(clean, RATE)
            shares[f"{name}/{score}"] = guard.predict(others).n_rejected / len(others)
    return shares


def scored(score: str) -> dict[str, Any]:
    return evaluated(guard_of(score)).to_json()


def guarded(classifier: str) -> dict[str, Any]:
    return evaluated(guard_of(DEFAULT_SCORE, classifier)).to_json()


def well_known(classifier: str, name: str) -> dict[str, Any]:
    """Evaluate a known score, fitted to 10,000 training images, thresholded like the guard."""
    some = mnist().train.subset(slice(10_000))
    scorer = KNOWN[name](model(classifier), some.visible(), some.labels)
    return evaluated(Guard(scorer, model(classifier)).calibrate(split(0)[0], RATE)).to_json()


def evaluated(guard: Guard) -> GuardEvaluation:
    return evaluate_guard(guard, split(0)[1], trials())


def adaptive(classifier: str, score: str) -> dict[str, Any]:
    """Attack the classifier alone, show these images to the guard, and attack through the guard."""
    guard = guard_of(score, classifier)
    images = split(0)[1].subset(slice(COUNT))
    v, labels, pool = images.visible(), images.labels, mnist().train.visible()[:3000]
    outcome: dict[str, Any] = {"count": COUNT, "threshold": guard.threshold}
    for norm, limit in LIMITS.items():
        alone = denseam.minimum_norm(model(classifier), v, labels, norm=norm, eight_bit=False)
        moved = alone.distances.l2 if norm == "l2" else alone.distances.linf
        before = guard.predict(alone.images.float())
        through = before.accepted & (before.labels != labels)
        attack = partial(adaptive_attack, guard, v, labels, pool=pool, norm=norm)
        near, far = attack(steps=150, restarts=2), attack(steps=100, restarts=3, budget=limit)
        best = torch.minimum(near.distance, far.distance)
        outcome[norm] = {
            "alone_median": float(moved.median()) / 2,
            "alone_within": float((alone.success & (moved <= limit)).double().mean()),
            "transferred": float(through.double().mean()),
            "adaptive_median": finite(best.median() / 2),
            "adaptive_within": AdaptiveResult(near.images, near.success, best).rate(limit),
            "adaptive_found": float(best.isfinite().double().mean()),
        }
    noise = (0.1 * torch.randn(COUNT, 784, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
    ends, accepted = accept_noise(guard, noise, steps=500)
    moved = (ends - noise).norm(dim=1)[accepted]
    outcome["noise"] = {
        "accepted": float(accepted.double().mean()),
        "median_l2": float(moved.median()) / 2 if len(moved) else None,
    }
    save_file({"ends": ends}, CACHE / f"noise-{classifier}-{score}.safetensors")
    return outcome


def finite(value: Tensor) -> float | None:
    return float(value) if math.isfinite(float(value)) else None


def pieces() -> dict[str, Callable[[], dict[str, Any]]]:
    scores = (*SCORES, *COMBINED)
    named: dict[str, Callable[[], dict[str, Any]]] = {"shifted": shifted}
    named |= {f"promise/{s}": partial(promise, s) for s in (DEFAULT_SCORE, "gap+log_energy")}
    named |= {f"score/{s}": partial(scored, s) for s in scores}
    named |= {f"guard/{c}": partial(guarded, c) for c in CLASSIFIERS}
    named |= {f"known/{c}/{k}": partial(well_known, c, k) for c in CLASSIFIERS for k in KNOWN}
    adapted = (DEFAULT_SCORE, "gap+log_energy")
    named |= {f"adaptive/{c}/{s}": partial(adaptive, c, s) for c in CLASSIFIERS for s in adapted}
    return named


# ---- tables ------------------------------------------------------------------------------------


def percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def share(trial: dict[str, Any], cell: str) -> str:
    """Return a share of a set's images in percent; none for too few images."""
    return "-" if trial["count"] < LEAST else percent(trial[cell])


def rejected_table(columns: dict[str, dict[str, Any]]) -> str:
    """Return the shares rejected, sets in rows, the clean images first."""
    sets = [{t["name"]: t for t in (f["clean"], *f["trials"])} for f in columns.values()]
    rows = [
        [name, str(trial["count"]), *(share(each[name], "rejected") for each in sets)]
        for name, trial in sets[0].items()
    ]
    _, count, *shares = rows[0]
    rows[0] = ["**clean, held out**", count, *(f"**{each}**" for each in shares)]
    return markdown(["rejected, %", "images", *columns], rows)


def score_table(results: dict[str, Any]) -> str:
    return rejected_table({s: results[f"score/{s}"] for s in (*SCORES, *COMBINED)})


def known_table(results: dict[str, Any]) -> str:
    columns = {"guard": results["guard/mnist-relu"]}
    return rejected_table(columns | {k: results[f"known/mnist-relu/{k}"] for k in KNOWN})


def separation_table(results: dict[str, Any]) -> str:
    columns = {"guard": results["guard/mnist-relu"]}
    columns |= {k: results[f"known/mnist-relu/{k}"] for k in KNOWN}
    rows = []
    for place, trial in enumerate(next(iter(columns.values()))["trials"]):
        if trial["separation"] is None:
            continue
        cells = [c["trials"][place]["separation"] for c in columns.values()]
        few = trial["count"] < LEAST
        rows.append([trial["name"], *(
            "-" if few else f"{s['auroc']:.3f}, {s['aupr']:.3f}, {percent(s['fpr_at_95'])}"
            for s in cells
        )])  # fmt: skip
    return markdown(["AUROC, AUPR, FPR in %", *columns], rows)


def outcome_table(results: dict[str, Any]) -> str:
    rows = []
    cells = ("alone", "rejected", "right", "wrong", "marked")
    for classifier in CLASSIFIERS:
        rows += [
            [classifier, trial["name"], *(share(trial, cell) for cell in cells)]
            for trial in results[f"guard/{classifier}"]["trials"]
            if trial["kind"] == "attacked"
        ]
    return markdown(
        ["classifier", "images", "wrong alone", "rejected", "right", "wrong", "marked"], rows
    )


def adaptive_table(results: dict[str, Any]) -> str:
    rows = []
    for name, piece in results.items():
        if not name.startswith("adaptive/"):
            continue
        classifier, score = name.split("/")[1:]
        rows.append([
            classifier, score,
            f"{piece['l2']['alone_median']:.2f}, {percent(piece['l2']['alone_within'])}",
            percent(piece["l2"]["transferred"]),
            f"{number(piece['l2']['adaptive_median'])}, {percent(piece['l2']['adaptive_within'])}",
            percent(piece["linf"]["alone_within"]), percent(piece["linf"]["transferred"]),
            percent(piece["linf"]["adaptive_within"]), percent(piece["noise"]["accepted"]),
        ])  # fmt: skip
    head = ["classifier", "score", "alone: median L2, within 1.5", "these before the guard",
            "adaptive: median L2, within 1.5", "alone, Linf 0.1", "these before the guard",
            "adaptive, Linf 0.1", "noise made acceptable"]  # fmt: skip
    return markdown(head, rows)


def number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def promise_table(results: dict[str, Any]) -> str:
    rows = []
    for score in (DEFAULT_SCORE, "gap+log_energy"):
        splits = results[f"promise/{score}"]["rows"]
        shares = [rejected / count for rejected, count, _ in splits]
        _, count, n = splits[0]
        k = math.floor((n + 1) * RATE)
        exact = betabinom(count, k, n + 1 - k).interval(0.95)
        plain = binom(count, RATE).interval(0.95)
        rows.append([
            score, percent2(sum(shares) / len(shares)),
            f"{percent2(min(shares))} to {percent2(max(shares))}",
            inside(splits, exact), inside(splits, plain),
        ])  # fmt: skip
    return markdown(["score", "mean, %", "least to most, %", "within the interval of both draws",
                  "within the binomial one"], rows)  # fmt: skip


def percent2(value: float) -> str:
    return f"{100 * value:.2f}"


def inside(splits: list[list[int]], limits: tuple[float, float]) -> str:
    low, high = limits
    count = splits[0][1]
    hits = sum(low <= rejected <= high for rejected, *_ in splits)
    return f"{hits} of {len(splits)} ({percent2(low / count)} to {percent2(high / count)} %)"


def shifted_table(results: dict[str, Any]) -> str:
    names = dict.fromkeys(key.split("/")[0] for key in results["shifted"])
    scores = (DEFAULT_SCORE, "gap+log_energy")
    rows = [[n, *(percent2(results["shifted"][f"{n}/{s}"]) for s in scores)] for n in names]
    return markdown(["calibrated on", *(f"{s}: rejects, %" for s in scores)], rows)


def detectors_table(results: dict[str, Any]) -> str:
    """Return what an adaptive attacker pays, one row for each detector and classifier."""
    files = sorted(PAGE.kept.parent.glob("guard-*.json"))
    by_name = {USUAL: results, **{f.stem.removeprefix("guard-"): read_json(f) for f in files}}
    rows = []
    for classifier in CLASSIFIERS:
        for name, known in by_name.items():
            piece = known.get(f"adaptive/{classifier}/{DEFAULT_SCORE}")
            if piece is None:
                continue
            l2, linf = piece["l2"], piece["linf"]
            rows.append([
                classifier, name, f"{l2['alone_median']:.2f}", number(l2["adaptive_median"]),
                percent(l2["adaptive_within"]), percent(linf["adaptive_within"]),
                percent(piece["noise"]["accepted"]),
            ])  # fmt: skip
    head = ["classifier", "detector", "alone: median L2", "through the guard: median L2",
            "within 1.5, %", "Linf within 0.1, %", "noise made acceptable, %"]  # fmt: skip
    return markdown(head, rows)


TABLES: dict[str, Callable[[Results], str]] = {
    "promise": promise_table,
    "shifted": shifted_table,
    "scores": score_table,
    "known": known_table,
    "separation": separation_table,
    "outcomes": outcome_table,
    "adaptive": adaptive_table,
    "detectors": detectors_table,
}


PAGE = Page(ROOT / "docs/guard.md", ROOT / "benchmarks/results/guard.json", TABLES)


def draw() -> None:
    """Draw docs/images/guard.png, of the guard in front of mnist-relu."""
    from denseam.figures import guard as figure  # noqa: PLC0415

    clean = split(0)[1]
    wrong = model("mnist-relu").predict(clean.visible()) != clean.labels
    some = mnist().train.subset(slice(10_000))
    known = KNOWN["maximum softmax"](model("mnist-relu"), some.visible(), some.labels)
    evaluation = evaluated(guard_of(DEFAULT_SCORE))
    gap = guard_of("gap").predict(clean).scores
    curves = {
        "profile": evaluation.curve,
        "gap": coverage_risk(gap, wrong),
        "maximum softmax": coverage_risk(known.score(clean.visible()), wrong),
    }
    shown = ("boundary of mnist-n2", "letters A to J", "pixels permuted, each image")
    record = figure.GuardCurves(
        ("clean", *shown), (evaluation.clean_scores, *(evaluation.trial_scores[n] for n in shown)),
        evaluation.threshold, tuple(curves), tuple(c.coverage for c in curves.values()),
        tuple(c.risk for c in curves.values()),
    )  # fmt: skip
    figure.save(record, FIGURES / "guard.png")


def another(name: str) -> None:
    """Measure with another detector, and print its tables."""
    page = Page(PAGE.path, PAGE.kept.with_name(f"guard-{name}.json"), {})
    command(page, pieces(), __doc__)
    results = page.results()
    for title, make in TABLES.items():
        try:
            print(f"\n{title}\n\n{make(results)}")
        except KeyError as missing:
            print(f"{title}: no result yet for {missing}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--detector", metavar="[NAME=]MODEL", default=USUAL)
    options, sys.argv[1:] = parser.parse_known_args()
    label, _, DETECTOR = options.detector.rpartition("=")
    if DETECTOR == USUAL:
        command(PAGE, pieces(), __doc__, draw)
    else:
        another(label or Path(DETECTOR).name)
