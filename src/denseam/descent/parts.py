"""Image sets made in parts that outlive an interruption: the same call goes on.

While ``NAME.safetensors`` is being made, its finished parts lie in ``NAME.safetensors.parts``, each
an image set of its own with the same metadata: what the set is to be, the model's and the data's
sums included. A part counts only if that agrees.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from denseam import data
from denseam.data import ImageSet
from denseam.descent.common import Progress
from denseam.errors import FileFormatError, InputError, RunFolderError
from denseam.files import held_folder

__all__ = ["build"]


def build(
    make: Callable[[slice, Progress], ImageSet],
    cuts: Sequence[slice],
    out: str | Path | None,
    metadata: Mapping[str, Any],
    on_progress: Progress | None,
) -> ImageSet:
    """All parts as one set, in ``out`` too where given; parts that are there are not made again.

    Args:
        make: the images of a slice, with exactly this metadata; told where to report progress,
            in images of that slice.
        cuts: consecutive slices.
        out: ``.safetensors`` or ``.npz`` file to write.
        metadata: what the set is: JSON-able.
        on_progress: told of images done and images in all.

    Raises:
        InputError: for another suffix.
        RunFolderError: when ``out`` is there and is another set, or another process is making it.
        SaveError: when a part or the set cannot be written.
    """
    total = cuts[-1].stop

    def report(done: int, _: int) -> None:
        if on_progress is not None:
            on_progress(done, total)

    def made(cut: slice) -> ImageSet:
        return make(cut, lambda done, _: report(cut.start + done, total))

    if out is None:
        return ImageSet.concatenate([made(cut) for cut in cuts])
    out = Path(out)
    if out.suffix.lower() not in (".safetensors", ".npz"):
        raise InputError(f"{out}: an image set is written as .safetensors or .npz")
    if out.exists():
        return _finished(out, metadata)
    folder = out.with_name(out.name + ".parts")
    with held_folder(folder, "at work"):
        parts = []
        for cut in cuts:
            path = folder / f"{cut.start:08d}-{cut.stop:08d}.safetensors"
            part = _part(path, metadata)
            if part is None:
                part = made(cut)
                part.save(path)
            parts.append(part)
            report(cut.stop, total)
        whole = ImageSet.concatenate(parts)
        parts.clear()  # half of the memory that saving needs
        whole.save(out)
    shutil.rmtree(folder, ignore_errors=True)
    return whole


def _finished(out: Path, metadata: Mapping[str, Any]) -> ImageSet:
    found = data.load(out)
    if isinstance(found, ImageSet) and _same(found.metadata, metadata):
        return found
    raise RunFolderError(
        f"{out} is there and was made otherwise (another model, other images or options): "
        "choose another file, or delete it"
    )


def _part(path: Path, metadata: Mapping[str, Any]) -> ImageSet | None:
    """A part that is there, whole, and of this set; None where it has to be made."""
    if not path.exists():
        return None
    try:
        found = data.load(path)
    except FileFormatError:
        return None
    if isinstance(found, ImageSet) and _same(found.metadata, metadata):
        return found
    raise RunFolderError(
        f"{path.parent} holds parts of another set (another model, other images or options): "
        "choose another file, or delete that folder"
    )


def _same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)
