"""Make the packed MNIST of this package again, bit for bit, from the published files.

    python -m denseam.data.repack FOLDER [OUTPUT]

FOLDER holds the four IDX files, plain or gzipped. Takes about five seconds.
"""

import sys
from importlib import resources
from pathlib import Path

import numpy as np

from denseam.data import idx, mnist
from denseam.data.packing import pack
from denseam.errors import DataUnavailableError, DenseAMError
from denseam.files import write_bytes

__all__ = ["main", "repack"]


def repack(folder: Path) -> bytes:
    """The packed file for the published files in ``folder``.

    Raises:
        DataUnavailableError: when one of the four files is missing.
        FileFormatError: when one is not the published one.
    """
    arrays = {}
    for name in mnist.SHA256:
        found = [p for p in (folder / name, folder / f"{name}.gz") if p.is_file()]
        if not found:
            raise DataUnavailableError(f"{folder}: neither {name} nor {name}.gz is there")
        arrays[name] = idx.read(found[0])
    mnist.check_sums(arrays, str(folder))
    names = list(mnist.SHA256)
    images = np.concatenate([arrays[names[0]], arrays[names[2]]])
    labels = np.concatenate([arrays[names[1]], arrays[names[3]]])
    return pack(images, labels)


def main(arguments: list[str]) -> int:
    """Command line: returns the exit code."""
    if len(arguments) not in (1, 2):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    default = Path(str(resources.files("denseam.data.mnist"))) / mnist.FILE_NAME
    output = Path(arguments[1]) if len(arguments) == 2 else default
    try:
        data = repack(Path(arguments[0]))
        write_bytes(output, data)
    except DenseAMError as error:
        sys.stderr.write(f"repack: {error}\n")
        return 2
    sys.stdout.write(f"{output}: {len(data)} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
