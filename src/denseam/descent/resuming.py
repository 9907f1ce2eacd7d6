"""Image sets made in parts that outlive an interruption: the same call goes on.

While ``NAME.safetensors`` is being made, its finished parts lie in ``NAME.safetensors.parts``, each
an image set of its own with the same metadata: what the set is to be, the model's and the data's
sums included. A part counts only if that agrees.

Several processes that make the same call can share the parts: each takes the next one that nobody
has or makes, and the last puts them together. They need to see the same folder, nothing else.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from denseam import data
from denseam.data import ImageSet
from denseam.descent.batch import Progress
from denseam.errors import FileFormatError, InputError, RunFolderError
from denseam.files import held_folder, held_if_free

__all__ = ["build"]

_PAUSE = 0.05  # seconds between looks at what the others do


def build(
    make: Callable[[slice, Progress], ImageSet],
    cuts: Sequence[slice],
    out: str | Path | None,
    metadata: Mapping[str, Any],
    on_progress: Progress | None,
    *,
    shared: bool = False,
) -> ImageSet:
    """All parts as one set, in ``out`` too where given; parts that are there are not made again.

    Args:
        make: the images of a slice, with exactly this metadata; told where to report progress,
            in images of that slice.
        cuts: consecutive slices.
        out: ``.safetensors`` or ``.npz`` file to write.
        metadata: what the set is: JSON-able.
        on_progress: told of images done and images in all.
        shared: other processes make the same call, and all of them share the work.

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
    if shared:
        _share(made, cuts, out, metadata, report)
        return _finished(out, metadata)
    folder = _folder(out)
    with held_folder(folder, "at work"):
        for cut in cuts:
            path = _path(folder, cut)
            if _part(path, metadata) is None:
                made(cut).save(path)
            report(cut.stop, total)
        whole = _joined(folder, cuts, metadata)
        whole.save(out)
    shutil.rmtree(folder, ignore_errors=True)
    return whole


def _share(
    make: Callable[[slice], ImageSet],
    cuts: Sequence[slice],
    out: Path,
    metadata: Mapping[str, Any],
    report: Progress,
) -> None:
    """Make parts until the whole set is there, whoever makes the others and puts it together."""
    folder, lock = _folder(out), out.with_name(f".{out.name}.lock")
    there: set[int] = set()
    while not out.exists():
        before = len(there)
        for cut in cuts:
            if cut.start not in there and _made(make, cut, out, metadata):
                there.add(cut.start)
        report(sum(cut.stop - cut.start for cut in cuts if cut.start in there), cuts[-1].stop)
        if len(there) == len(cuts):
            with held_if_free(lock) as held:
                if held and not out.exists():
                    _joined(folder, cuts, metadata).save(out)
        if len(there) == before:
            time.sleep(_PAUSE)
    shutil.rmtree(folder, ignore_errors=True)


def _made(
    make: Callable[[slice], ImageSet], cut: slice, out: Path, metadata: Mapping[str, Any]
) -> bool:
    """Whether a part is there: made now, or before; False while another process is making it."""
    path = _path(_folder(out), cut)
    if _part(path, metadata) is not None:
        return True
    with held_if_free(path.with_suffix(".lock")) as held:
        # Once the set is whole its parts are gone.
        if held and _part(path, metadata) is None and not out.exists():
            make(cut).save(path)
        return held


def _folder(out: Path) -> Path:
    return out.with_name(out.name + ".parts")


def _path(folder: Path, cut: slice) -> Path:
    return folder / f"{cut.start:08d}-{cut.stop:08d}.safetensors"


def _joined(folder: Path, cuts: Sequence[slice], metadata: Mapping[str, Any]) -> ImageSet:
    parts = []
    for cut in cuts:
        part = _part(_path(folder, cut), metadata)
        if part is None:
            raise RunFolderError(f"{_path(folder, cut)} was there and has gone: try again")
        parts.append(part)
    return ImageSet.concatenate(parts)


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
