"""The README's picture: memories of several trained models side by side (the paper's Fig. 2).

    python docs/pictures/memories.py runs/n2 runs/n3 runs/n20 runs/n30 docs/pictures/memories.png

Memories are drawn at random (seed 0). Blue is -1, white 0, red +1, as the colour bar says.
"""

import sys

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import denseam

ROWS, COLUMNS, SIDE, SCALE, GAP, HEAD = 4, 4, 28, 2, 3, 26
BLUE, WHITE, RED = (33, 76, 156), (255, 255, 255), (178, 36, 40)


def diverging(x: np.ndarray) -> np.ndarray:
    """(...) in [-1, 1] -> (..., 3) uint8."""
    end = np.where(x[..., None] < 0, BLUE, RED)
    strength = np.abs(x)[..., None]
    return (np.array(WHITE) * (1 - strength) + end * strength).round().astype(np.uint8)


def panel(model: denseam.DenseAM, font: ImageFont.FreeTypeFont) -> Image.Image:
    """One model: its power, and a grid of its memories."""
    chosen = torch.randperm(model.n_memories, generator=torch.Generator().manual_seed(0))
    memories = model.visible_memories.detach()[chosen[: ROWS * COLUMNS]].reshape(-1, SIDE, SIDE)
    cell = SIDE * SCALE + GAP
    picture = Image.new("RGB", (COLUMNS * cell - GAP, HEAD + ROWS * cell - GAP), "white")
    ImageDraw.Draw(picture).text((0, 2), f"n = {model.power:g}", "black", font)
    for i, memory in enumerate(memories):
        tile = Image.fromarray(diverging(memory.numpy()))
        tile = tile.resize((SIDE * SCALE, SIDE * SCALE), Image.Resampling.NEAREST)
        picture.paste(tile, (i % COLUMNS * cell, HEAD + i // COLUMNS * cell))
    return picture


def colour_bar(height: int, font: ImageFont.FreeTypeFont) -> Image.Image:
    """The scale of the weights, from -1 to +1."""
    bar = Image.new("RGB", (48, height), "white")
    shades = diverging(np.linspace(1, -1, height - HEAD)[:, None].repeat(12, axis=1))
    bar.paste(Image.fromarray(shades), (0, HEAD))
    draw = ImageDraw.Draw(bar)
    for text, y in (("+1", HEAD), ("0", (height + HEAD) // 2 - 8), ("-1", height - 18)):
        draw.text((17, y), text, "black", font)
    return bar


def main() -> None:
    *models, out = sys.argv[1:]
    font = ImageFont.load_default(size=16)
    panels = [panel(denseam.load(path), font) for path in models]
    panels.append(colour_bar(panels[0].height, font))
    space = 22
    width = sum(p.width for p in panels) + space * (len(panels) - 1)
    picture = Image.new("RGB", (width, panels[0].height), "white")
    x = 0
    for each in panels:
        picture.paste(each, (x, 0))
        x += each.width + space
    picture.save(out, optimize=True)


if __name__ == "__main__":
    main()
