"""A whole, lifelike example of results and pictures. No number in it was measured.

The shape is the real one: four models, 4 x 4 tables, a wide table, claims of every verdict.
"""

import hashlib
import io
import math
import struct
from typing import Any

from .sample_claims import EPS, NAMES, claims, tables

POWERS = (2.0, 3.0, 20.0, 30.0)

# Figure ids with sizes in inches and dots per inch: wide, tall, square, one panel, small, strip.
FIGURES = {
    "memories": (6.3, 1.9, 300),
    "rubbish": (6.3, 3.0, 200),
    "boundary": (3.4, 6.2, 150),
    "transfer": (3.2, 3.2, 200),
    "sign": (6.3, 2.6, 200),
    "distances": (2.4, 1.6, 120),
}

_STAGES = (
    ("errors", "Test errors", 41.3, "denseam evaluate MODEL"),
    ("memories", "Memories", 2.04, "denseam memories MODEL"),
    ("rubbish", "Rubbish images and their transfer", 731.0, "denseam rubbish MODEL"),
    ("boundary", "Adversarial images behind the boundary", 2870.0, "denseam boundary MODEL"),
    ("transfer", "Transfer between models", 188.2, "denseam transfer MODEL MODEL ..."),
    ("sign", "Sign of gradient", 402.7, "denseam attack MODEL --method fgsm"),
    ("guard", "A large n in front of a small one", 77.7, "denseam guard check"),
)

_ERRORS = {"n2": 0.0153, "n3": 0.0147, "n20": 0.0166, "n30": 0.0182}
_TRANSFER = (  # rows: generator, columns: victim
    (0.9951, 0.2130, 0.0291, 0.0302),
    (0.4749, 0.9968, 0.0304, 0.0341),
    (0.5511, 0.5402, 1.0, 0.0899),
    (0.3452, 0.3349, 0.3655, 0.9987),
)
_CONFIDENCE = (
    (0.985, 0.9849, 0.1002, 0.1001),
    (0.979, 0.9851, 0.1003, 0.1004),
    (0.842, 0.8213, 0.5422, 0.3811),
    (0.789, 0.7704, 0.3822, 0.7413),
)
_SIGN = (
    (0.015, 0.09, 0.23, 0.55, 0.81, 0.91, 0.94, 0.981, 0.993, 0.9997),
    (0.014, 0.08, 0.18, 0.47, 0.75, 0.86, 0.913, 0.96, 0.98, 0.991),
    (0.017, 0.04, 0.08, 0.21, 0.43, 0.62, 0.76, 0.86, 0.93, 0.98),
    (0.018, 0.04, 0.07, 0.16, 0.33, 0.49, 0.62, 0.73, 0.82, 0.91),
)
_DISTANCES = ((0.94, 0.92, 0.96), (1.02, 1.0, 1.04), (1.53, 1.49, 1.57), (1.69, 1.66, 1.73))


def sample_results(*, quick: bool = False) -> dict[str, Any]:
    """Results as ``results.json`` holds them."""
    subset = "1,000 of the 10,000 test images, 10 rubbish images per class, one seed."
    return {
        "denseam": "0.1.0",
        "title": "Dense associative memories, reproduced",
        "command": "denseam reproduce --quick" if quick else "denseam reproduce",
        "quick": quick,
        "quick_note": subset if quick else None,
        "dataset": {"name": "MNIST", "digest": _hex("mnist"), "n_train": 60000, "n_test": 10000},
        "models": [_model(name, power) for name, power in zip(NAMES, POWERS, strict=True)],
        "environment": {
            "date": "2026-01-18T09:41:07+00:00",
            "processor": "AMD EPYC 9B45 (Zen 5)",
            "cores": 2,
            "memory_gib": 15.61,
            "system": "Linux 6.1, glibc 2.36",
            "versions": {"python": "3.11.7", "torch": "2.9.1+cpu", "numpy": "2.3.4"},
            "threads": 2,
            "seed": 0,
        },
        "stages": [
            {
                "name": name,
                "title": title,
                "seconds": seconds,
                "key": _hex(name),
                "command": command,
                "reused": name in {"boundary", "transfer"},
            }
            for name, title, seconds, command in _STAGES
        ],
        "rows": _rows(),
        "claims": claims(),
        "tables": tables(),
        "figures": [_figure(name) for name in FIGURES],
    }


def sample_pictures() -> dict[str, bytes]:
    """A PNG for every figure, by matplotlib: black on white, of several shapes."""
    from matplotlib.figure import Figure

    pictures = {}
    for i, (name, (width, height, dpi)) in enumerate(FIGURES.items()):
        figure = Figure(figsize=(width, height), layout="constrained")
        ax = figure.add_subplot()
        for n in range(4):
            ax.plot([0, 1, 2, 3], [math.sin(i + n * x) for x in range(4)], label=NAMES[n])
        ax.set_xlabel("eps (visible units)", fontsize=8)
        contents = io.BytesIO()
        figure.savefig(contents, format="png", dpi=dpi, facecolor="white")
        pictures[name] = contents.getvalue()
    return pictures


def empty_png(width: int, height: int, chunk: bytes = b"") -> bytes:
    """The frame of a PNG file, without pixels."""
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(
        ">I4sII5s4s", 13, b"IHDR", width, height, b"\x08", b""
    )
    return (
        header
        + chunk
        + struct.pack(">I4s4s", 0, b"IDAT", b"")
        + struct.pack(">I4s4s", 0, b"IEND", b"")
    )


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _model(name: str, power: float) -> dict[str, Any]:
    low = power < 10
    return {
        "name": name,
        "power": power,
        "temperature": 100.0 if low else 560.0 if power == 20 else 600.0,
        "n_memories": 2000,
        "digest": _hex(name),
        "source": "runs/long/n20/model.safetensors" if name == "n20" else f"mnist-{name}",
        "epochs": None if name == "n20" else 1000,
        "seed": None if name == "n20" else 0,
        "command": None
        if name == "n20"
        else f"denseam train --power {power:g} --epochs 1000 --seed 0 --out runs/{name}",
        "seeds": []
        if name == "n20"
        else [{"seed": s, "epochs": 1000, "error_row": f"seeds/{name}/{s}"} for s in range(3)],
    }


def _row(name: str, what: str, value: float, command: str, **more: Any) -> dict[str, Any]:
    stage = name.split("/", 1)[0]
    empty = {"low": None, "high": None, "count": None, "unit": "%"}
    return {
        **empty,
        "id": name,
        "stage": "errors" if stage == "seeds" else stage,
        "what": what,
        "value": value,
        "command": command,
        **more,
    }


def _share(p: float, count: int) -> dict[str, Any]:
    """Wilson's 95 % interval of a share."""
    z = 1.96
    centre, width = (
        p + z * z / (2 * count),
        z * math.sqrt(p * (1 - p) / count + (z / count) ** 2 / 4),
    )
    low, high = ((centre + s * width) / (1 + z * z / count) for s in (-1, 1))
    return {"low": max(0.0, low), "high": min(1.0, high), "count": count}


def _rows() -> list[dict[str, Any]]:
    rows = []
    for name, error in _ERRORS.items():
        command = f"denseam evaluate {name}"
        rows.append(
            _row(f"errors/{name}", f"test error of {name}", error, command, **_share(error, 10000))
        )
        if name != "n20":
            rows += [
                _row(f"seeds/{name}/{s}", f"test error of {name}, seed {s}", error + s * 4e-4,
                     f"denseam evaluate runs/{name}-seed{s}", **_share(error + s * 4e-4, 10000))
                for s in range(3)
            ]  # fmt: skip
    rows.append(_row("memories/one-class", "memories of n30 that vote for one class", 0.4275,
                     "denseam memories n30", count=2000))  # fmt: skip
    rows.append(_row("memories/single", "images of n30 that one memory decides", 8121,
                     "denseam memories n30", unit="", count=10000))  # fmt: skip
    for kind, table, count in (("transfer", _TRANSFER, 10000), ("rubbish", _CONFIDENCE, 1000)):
        for source, line in zip(NAMES, table, strict=True):
            for victim, value in zip(NAMES, line, strict=True):
                what = "error" if kind == "transfer" else "mean confidence"
                flag = " --confidence --beta-sm 3.2" if kind == "rubbish" else ""
                images = f"sets/{kind}-{source}.safetensors"
                rows.append(_row(
                    f"{kind}/{source}/{victim}", f"{what} of {victim} on the images of {source}",
                    value, f"denseam transfer {' '.join(NAMES)} --sets {images}{flag}",
                    **_share(value, count),
                ))  # fmt: skip
    for name, (value, low, high) in zip(NAMES, _DISTANCES, strict=True):
        rows.append(_row(f"boundary/l2/{name}",
                         f"median L2 distance to the boundary of {name}, in [0, 1] units", value,
                         f"denseam boundary {name} --count 10000", low=low, high=high,
                         count=10000, unit=""))  # fmt: skip
    for name, line in zip(NAMES, _SIGN, strict=True):
        for eps, value in zip(EPS, line, strict=True):
            rows.append(_row(f"sign/{name}/eps={eps:g}", f"error of {name} at eps = {eps:g}", value,
                             f"denseam attack {name} --method fgsm --eps {eps:g}",
                             **_share(value, 1000)))  # fmt: skip
    rows.append(_row("guard/caught", "junk that the guard rejects at 1 % of clean images", 0.9996,
                     "denseam guard check n30 --junk noise"))  # fmt: skip
    rows.append(
        _row("guard/time", "time per image", 0.0000824, "denseam guard check n30 --time", unit="s")
    )
    return rows


def _figure(name: str) -> dict[str, Any]:
    stage = "boundary" if name == "distances" else name
    return {
        "id": name,
        "title": f"{name.capitalize()}.",
        "caption": "Four models, drawn from the sets of this run; thin lines are 95 % intervals.",
        "stage": stage,
        "command": f"denseam reproduce --only {stage} --out results",
        "file": f"{name}.png",
    }
