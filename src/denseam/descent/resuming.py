"""Image sets made in chunks that outlive an interruption: the same call goes on.

While ``NAME.safetensors`` is being made, finished chunks lie in ``NAME.safetensors.parts``. Each
is an image set with the same metadata: what the set is to be, the sums of model and data included.
A chunk counts only if these agree.

Several processes that make the same call can share the work. Each takes the next chunk that nobody
has made or is making, and the last one joins them. All they need is to see the same folder.
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
    """Make all chunks that are not there yet and return them as one set, written to ``out``.

    Args:
        make: called with a slice and a callback for the images of that slice that are done;
            returns the images of the slice, with exactly this metadata.
        cuts: consecutive slices.
        out: ``.safetensors`` or ``.npz`` file to write; None for none.
        metadata: what the set is: JSON-able.
        on_progress: called with the number of images done and of all.
        shared: other processes make the same call, and all of them share the work.

    Raises:
        InputError: for another suffix.
        RunFolderError: when ``out`` is there and is another set, or another process is making it.
        SaveError: when a chunk or the set cannot be written.
    """
    total = cuts[-1].stop

    def report(done: int) -> None:
        if on_progress is not None:
            on_progress(done, total)

    def made(cut: slice) -> ImageSet:
        return make(cut, lambda done, _: report(cut.start + done))

    if out is None:
        return ImageSet.concatenate([made(cut) for cut in cuts])
    out = Path(out)
    if out.suffix.lower() not in (".safetensors", ".npz"):
        raise InputError(f"{out}: an image set is written as .safetensors or .npz")
    if not out.exists():
        chunks = _Chunks(made, cuts, out, metadata)
        if shared:
            chunks.share(report)
        else:
            return chunks.make_all(report)
    whole = _read(out, metadata, f"{out} is there and was made otherwise", "it")
    shutil.rmtree(_folder(out), ignore_errors=True)  # of a process killed before it did this
    return whole


def _folder(out: Path) -> Path:
    """Return the folder of the chunks of a set."""
    return out.with_name(out.name + ".parts")


class _Chunks:
    """The chunks of a set that is being made, in a folder beside it."""

    def __init__(
        self,
        make: Callable[[slice], ImageSet],
        cuts: Sequence[slice],
        out: Path,
        metadata: Mapping[str, Any],
    ) -> None:
        self.make, self.cuts, self.out, self.metadata = make, cuts, out, metadata
        self.folder = _folder(out)

    def make_all(self, report: Callable[[int], None]) -> ImageSet:
        """Make the chunks that are missing, and join them."""
        with held_folder(self.folder, "at work"):
            for cut in self.cuts:
                if self.read(cut) is None:
                    self.make(cut).save(self.path(cut))
                report(cut.stop)
            whole = self.joined()
            whole.save(self.out)
        shutil.rmtree(self.folder, ignore_errors=True)
        return whole

    def share(self, report: Callable[[int], None]) -> None:
        """Make chunks until the whole set is there, whoever makes the others and joins them."""
        lock = self.out.with_name(f".{self.out.name}.lock")
        there: set[int] = set()
        while not self.out.exists():
            before = len(there)
            there |= {c.start for c in self.cuts if c.start not in there and self.make_if_free(c)}
            report(sum(cut.stop - cut.start for cut in self.cuts if cut.start in there))
            if len(there) == len(self.cuts):
                with held_if_free(lock) as held:
                    if held and not self.out.exists():
                        self.joined().save(self.out)
            if len(there) == before:
                time.sleep(_PAUSE)
        shutil.rmtree(self.folder, ignore_errors=True)

    def make_if_free(self, cut: slice) -> bool:
        """Make a chunk unless it is there; return False while another process is making it."""
        if self.read(cut) is not None:
            return True
        with held_if_free(self.path(cut).with_suffix(".lock")) as held:
            # Once the set is whole its chunks are gone.
            if held and self.read(cut) is None and not self.out.exists():
                self.make(cut).save(self.path(cut))
            return held

    def path(self, cut: slice) -> Path:
        return self.folder / f"{cut.start:08d}-{cut.stop:08d}.safetensors"

    def read(self, cut: slice) -> ImageSet | None:
        """Read a chunk; return None where it is missing or damaged, and has to be made."""
        path = self.path(cut)
        if not path.exists():
            return None
        try:
            return _read(
                path, self.metadata, f"{self.folder} holds parts of another set", "that folder"
            )
        except FileFormatError:
            return None

    def joined(self) -> ImageSet:
        chunks = []
        for cut in self.cuts:
            chunk = self.read(cut)
            if chunk is None:
                raise RunFolderError(f"{self.path(cut)} was there and has gone: try again")
            chunks.append(chunk)
        return ImageSet.concatenate(chunks)


def _read(path: Path, metadata: Mapping[str, Any], wrong: str, doomed: str) -> ImageSet:
    """Read the set with this metadata; RunFolderError for any other."""
    images = data.load(path)
    if isinstance(images, ImageSet) and _json(images.metadata) == _json(metadata):
        return images
    raise RunFolderError(
        f"{wrong} (another model, other images or options): choose another file, or delete {doomed}"
    )


def _json(metadata: Mapping[str, Any]) -> str:
    return json.dumps(metadata, sort_keys=True)
