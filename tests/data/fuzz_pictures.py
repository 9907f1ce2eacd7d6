"""Read damaged pictures: python -m tests.data.fuzz_pictures [COUNT] [SEED]

Each is a picture of some format and mode with bytes changed, cut out, repeated or put in. It is
read, or refused with an error of the package, within seconds; memory does not grow.
"""

import io
import resource
import sys
import time
from collections import Counter

import numpy as np
from PIL import Image

from denseam.data.pictures import pages
from denseam.errors import DenseAMError

_SECONDS = 5.0  # for one picture
_KINDS = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("L", "P"),
    "BMP": ("1", "L", "RGB"),
    "PPM": ("1", "L", "RGB"),
    "TGA": ("L", "RGBA"),
    "JPEG2000": ("L", "RGB"),
    "ICO": ("RGBA",),
    "AVIF": ("RGB",),
}


def originals():
    """Return whole files of all formats and modes, one and several pages, with and without tags."""
    pixels = np.random.default_rng(0).integers(0, 256, (23, 17, 3), dtype=np.uint8)
    picture, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6
    files = []
    for kind, modes in _KINDS.items():
        for mode in modes:
            frame = picture.convert("L" if mode == "I;16" else mode)
            if mode == "I;16":
                frame = Image.fromarray(np.asarray(frame).astype(np.uint16) * 257)
            options = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "TIFF") else {}
            several = kind in ("TIFF", "GIF", "WEBP", "PNG") and mode in ("L", "RGB")
            if several:
                options |= {"save_all": True, "append_images": [frame.rotate(90)]}
            if kind == "TIFF" and mode == "RGB":
                options["compression"] = "tiff_lzw"
            file = io.BytesIO()
            frame.save(file, kind, **options)
            files.append(file.getvalue())
    return files


def damaged(data, rng):
    """Return a file with one to four faults."""
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, len(data) + 1))
        end = min(len(data), at + int(rng.integers(1, 40)))
        match int(rng.integers(0, 6)):
            case 0:
                data[at:end] = rng.bytes(end - at)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end]
            case 3:
                data[at:at] = rng.bytes(int(rng.integers(1, 9)))
            case 4:
                del data[at:]
            case 5 if at < len(data):
                data[at] = int(rng.choice([0, 1, 127, 128, 255]))
    return bytes(data)


def fuzz(count, seed=0):
    """Read so many damaged pictures; return how many were read, and how many refused by whom."""
    rng, files, outcomes = np.random.default_rng(seed), originals(), Counter()
    for number in range(count):
        data = damaged(files[number % len(files)], rng)
        start = time.monotonic()
        try:
            for page in pages(data):
                assert page.ndim in (2, 3)
                assert page.isfinite().all()
            outcomes["read"] += 1
        except DenseAMError as error:
            outcomes[type(error).__name__] += 1
        assert time.monotonic() - start < _SECONDS, (number, seed)
    return outcomes


def _megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    total, seed = (int(x) for x in (*sys.argv[1:3], *("100000", "0")[len(sys.argv) - 1 :]))
    for start in range(0, total, 10_000):
        outcomes = fuzz(min(10_000, total - start), seed + start)
        done, size = start + sum(outcomes.values()), f"{_megabytes():.0f} MB"
        print(done, dict(outcomes), size, flush=True)  # noqa: T201
