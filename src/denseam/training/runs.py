"""Run folders: the files of a training run, from which it can be resumed.

    run.json                 recipe, data, versions, threads; written once
    records.jsonl            one line per epoch
    checkpoint.safetensors   memories and velocity after the last whole epoch, or one before; and
                             average and best memories, where the recipe asks for them; and what a
                             front has learned
    model.safetensors        the trained model, once all epochs are done

Records are appended, and on the disk, before the checkpoint atomically replaces the last one. After
a crash there are a checkpoint, all records before it, and perhaps later ones, the last incomplete:
the next call drops those.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from denseam.errors import FileFormatError, InputError, RunFolderError
from denseam.files import held_folder, load_tensors, read_json, save_tensors, write_json
from denseam.training.recipe import Recipe

__all__ = ["Checkpoint", "RunFolder"]


@dataclass(frozen=True)
class Checkpoint:
    """The state between two epochs; recipe and epoch determine everything else."""

    epochs: int  # number of trained epochs
    memories: Tensor  # (K, N + C)
    velocity: Tensor  # (K, N + C)
    shipped: Mapping[str, Tensor] = field(default_factory=dict)  # see ``Shipped`` and ``Usual``

    @classmethod
    def of(cls, epochs: int, tensors: Mapping[str, Tensor]) -> Self:
        """Return the state of tensors by name."""
        shipped = {k: v for k, v in tensors.items() if k not in ("memories", "velocity")}
        return cls(epochs, tensors["memories"], tensors["velocity"], shipped)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name."""
        return {"memories": self.memories, "velocity": self.velocity, **self.shipped}


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def facts(self) -> Path:
        return self.path / "run.json"

    @property
    def records(self) -> Path:
        return self.path / "records.jsonl"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder, made if necessary, against other processes.

        Raises:
            SaveError: when the folder cannot be made.
            RunFolderError: when another process is training there.
        """
        with held_folder(self.path, "training"):
            self._sweep()
            yield

    def _sweep(self) -> None:
        """Remove the temporary files of a process that was killed while it wrote."""
        for file in (self.facts, self.records, self.checkpoint, self.model):
            for left in self.path.glob(f".{file.name}.*"):
                left.unlink(missing_ok=True)

    def claim(self, recipe: Recipe, facts: dict[str, Any], *, resume: bool) -> dict[str, Any]:
        """Claim the folder for this run, or check that it is this run's; return its facts.

        Raises:
            RunFolderError: when it belongs to another recipe or other data, or holds a run while
                ``resume`` is False.
            FileFormatError: when its ``run.json`` is not whole.
        """
        if not self.facts.exists():
            if self.checkpoint.exists() or self.model.exists():
                raise RunFolderError(
                    f"{self.path} holds a model but no run.json: choose another folder"
                )
            write_json(self.facts, {"recipe": recipe.to_json(), **facts})
            return facts
        if not resume:
            raise RunFolderError(
                f"{self.path} already holds a run: resume it, or choose another folder"
            )
        old = read_json(self.facts)
        try:
            environment = old["environment"]
            _ = environment["kernel"], environment["product"]
            difference = _differences(Recipe.from_json(old["recipe"]), recipe)
            if old.get("front") != facts.get("front"):
                difference.append(f"front: {old.get('front')} there, {facts.get('front')} here")
            if old.get("start") != facts.get("start"):
                difference.append("start: it began from other memories")
            if old["data"]["digest"] != facts["data"]["digest"]:
                difference.append(f"data: {old['data']['name']} there, not the images given here")
        except (KeyError, TypeError, InputError) as error:
            raise FileFormatError(f"{self.facts} is not a denseam run: {error!r}") from error
        if difference:
            raise RunFolderError(
                f"{self.path} holds another run ({'; '.join(difference)}): choose another folder"
            )
        if facts["data"].get("read", old["data"].get("read")) != old["data"].get("read"):
            old["data"]["read"] = facts["data"]["read"]  # the same data have moved
            write_json(self.facts, old)
        return dict(old)

    def save(self, state: Checkpoint) -> None:
        """Write the checkpoint, atomically."""
        save_tensors(self.checkpoint, "checkpoint", state.tensors(), {"epochs": state.epochs})

    def load(
        self,
        shape: torch.Size,
        dtype: torch.dtype,
        others: Mapping[str, torch.Size] | None = None,
    ) -> Checkpoint | None:
        """Return the last checkpoint, or None before the first.

        Tensors have one shape, (K, N + C), but for ``others`` by name.

        Raises:
            FileFormatError: when it is truncated, garbled, of other sizes or not finite.
        """
        if not self.checkpoint.exists():
            return None
        tensors, facts = load_tensors(self.checkpoint, "checkpoint")
        try:
            state = Checkpoint.of(int(facts["epochs"]), tensors)
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{self.checkpoint} is no whole checkpoint: {error!r}") from error
        for name, tensor in tensors.items():
            expected = (others or {}).get(name, shape)
            if tensor.shape != expected or tensor.dtype is not dtype:
                raise FileFormatError(
                    f"{self.checkpoint}: {name} is {tuple(tensor.shape)} {tensor.dtype}, "
                    f"wanted {tuple(expected)} {dtype}"
                )
            if not bool(tensor.isfinite().all()):  # old versions saved diverged epochs
                raise FileFormatError(
                    f"{self.checkpoint}: {name} that are NaN or infinite, nothing to go on from: "
                    "choose another folder, and smaller steps or nearer temperatures"
                )
        return state


def _differences(there: Recipe, here: Recipe) -> list[str]:
    old, new = there.to_json(), here.to_json()
    return [
        f"{name}: {old[name]} there, {value} here" for name, value in new.items()
        if value != old[name]
    ]  # fmt: skip
