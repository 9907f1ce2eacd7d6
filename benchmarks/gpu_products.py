"""What coarse products would do to trained models: emulated on the CPU, no card needed.

Operands are rounded as tensor cores take them (TF32: the 13 lowest bits are dropped; bfloat16: to
the nearest), products and all else are in float64, so that nothing but the rounding is seen.

    python benchmarks/gpu_products.py [--images 1000]

`docs/gpu.md` has the table; the last line is JSON.
"""

import argparse
import json

import torch

from denseam import data, load_pretrained
from denseam.kernels import Paper, look_at, memory_gradient
from denseam.kernels.look import log_coefficients
from denseam.kernels.reference import ReferenceKernel

LOSS_POWER = {2: 4.0, 3: 4.0, 20: 30.0, 30: 30.0}  # m of the paper's presets


def truncated(x):
    """The 10 bits after the point that TF32 keeps."""
    return (x.float().view(torch.int32) & ~0x1FFF).view(torch.float32).double()


ROUNDINGS = {
    "full": lambda x: x.float().double(),
    "tf32": truncated,
    "bfloat16": lambda x: x.float().bfloat16().double(),
}


class Rounded(ReferenceKernel):
    """The reference in float64, with products of rounded operands."""

    def __init__(self, rounding):
        self.rounding = rounding

    def overlaps(self, visible, visible_memories):
        found = self.rounding(visible_memories) @ self.rounding(visible).T
        # Sums of full products are rounded too: their share of the error, where there is no other.
        return found.float().double() if self.rounding is ROUNDINGS["full"] else found

    def to_memories(self, weights, visible):
        return self.rounding(weights) @ self.rounding(visible)

    def to_images(self, weights, visible_memories):
        return self.rounding(weights.T) @ self.rounding(visible_memories)


def seen(model, kernel, visible, labels):
    """Return largest fields, log-energies, and both gradients."""
    F, memories, C = model.energy, model.memories.detach(), model.n_classes
    look = look_at(kernel, F, visible, memories, memories[:, -C:], every_class=True)
    log = look.log_energy()
    coefficients = log_coefficients(torch.ones_like(log), look.sums, F)
    gradients = look.gradients(coefficients, class_gradient=False)
    to_images = gradients.to_images(memories[:, : model.n_visible])
    to_memories, _ = memory_gradient(
        kernel, F, torch.nn.functional.pad(visible, (0, C)), labels, memories,
        temperature=model.temperature, objective=Paper(LOSS_POWER[int(model.power)]), n_classes=C,
    )  # fmt: skip
    return look.sums.scale.amax(dim=0), log, to_images, to_memories


def angle(found, wanted):
    """Relative error of the direction of every row that has one, the largest."""
    keep = wanted.norm(dim=1) > 0
    found, wanted = found[keep], wanted[keep]
    return (
        (found / found.norm(dim=1, keepdim=True)) - (wanted / wanted.norm(dim=1, keepdim=True))
    ).norm(dim=1)


def compare(name, images):
    model = load_pretrained(name).double()
    visible, labels = images.visible(torch.float64), images.labels
    exact = seen(model, Rounded(lambda x: x), visible, labels)
    best = exact[1].topk(2, dim=1).values
    rows = []
    for products, rounding in ROUNDINGS.items():
        scale, log, to_images, to_memories = seen(model, Rounded(rounding), visible, labels)
        margin = exact[1].gather(1, exact[1].topk(2, dim=1).indices)
        shifted = log.gather(1, exact[1].topk(2, dim=1).indices)
        moved = (shifted[:, 0] - shifted[:, 1]) - (margin[:, 0] - margin[:, 1])
        rows.append(
            {
                "model": name,
                "products": products,
                "power_error": float(((scale / exact[0]) ** model.power - 1).abs().max()),
                "log_energy_error": float((log - exact[1]).abs().max()),
                "margin_error": float(moved.abs().max()),
                "median_margin": float((best[:, 0] - best[:, 1]).median()),
                "decisions": int((log.argmax(dim=1) != exact[1].argmax(dim=1)).sum()),
                "image_gradient": float(angle(to_images, exact[2]).max()),
                "memory_gradient": float((to_memories - exact[3]).norm() / exact[3].norm()),
                "memory_direction": float(angle(to_memories, exact[3]).median()),
            }
        )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000, help="the first so many test images")
    count = parser.parse_args().images
    images = data.load("mnist").test.subset(slice(count))
    rows = [r for n in (2, 3, 20, 30) for r in compare(f"mnist-n{n}", images)]
    for row in rows:
        numbers = [f"{v:.1e}" if isinstance(v, float) else str(v) for v in list(row.values())[2:]]
        print(f"{row['model']:10} {row['products']:9}", "  ".join(numbers))
    print(json.dumps({"images": count, "rows": rows}))


if __name__ == "__main__":
    main()
