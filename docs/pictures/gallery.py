"""The pictures of docs/gallery.md, from trained models.

    python docs/pictures/gallery.py runs/n2 runs/n3 runs/n20 runs/n30 --sets sets --out pictures

Everything is kept as image sets in ``--sets``; a second call only draws.
"""

import argparse
from pathlib import Path

import torch

import denseam
from denseam.descent import attack_set, boundary_set, cross_boundary, rubbish_set
from denseam.figures import boundary, grid, rubbish, sign
from denseam.figures.records import boundary_traces, rubbish_grid, sign_curves

EPS = [0.05 * i for i in range(11)]
ATTACKED = 500  # test images of Fig. 8
SHAPE = (28, 28)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--sets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.sets.mkdir(exist_ok=True)
    models = [denseam.load(path) for path in args.models]
    test = denseam.data.load("mnist").test

    for noise, name in ((0.1, "rubbish"), (0.1**0.5, "rubbish-variance")):
        made = [
            rubbish_set(
                m, out=args.sets / f"{name}-n{m.power:g}.safetensors", shape=SHAPE, noise=noise
            )
            for m in models
        ]
        rubbish.save(rubbish_grid(made), args.out / f"{name}.png")

    for loss, name in (("objective", "sign"), ("cross_entropy", "sign-log-energy")):
        made = [
            attack_set(
                m, test.subset(slice(ATTACKED)), "fgsm", EPS,
                args.sets / f"{name}-n{m.power:g}.safetensors", loss=loss,
            )
            for m in models
        ]  # fmt: skip
        sign.save(sign_curves(made), args.out / f"{name}.png")

    traces = [trace for m in models for trace in ways(m, test.subset(slice(3)))]
    boundary.save(traces, args.out / "boundary.png")
    behind = boundary_set(models[-1], test.subset(slice(50)), args.sets / "behind.safetensors")
    grid.save_grid(behind.images, args.out / "behind.png", columns=10)


def ways(
    model: denseam.DenseAM, images: denseam.data.ImageSet
) -> tuple[boundary.BoundaryTrace, ...]:
    """Fig. 4 for the first images of the test set."""
    visible = images.visible()
    found = cross_boundary(model, visible, samples=range(len(images)))
    final = torch.stack([trace.final for trace in found.traces])
    return boundary_traces(
        found, visible, model.predict(final).tolist(), shape=images.shape,
        class_names=images.class_names, name=f"n = {model.power:g}", step=0.1,
    )  # fmt: skip


if __name__ == "__main__":
    main()
