"""Models trained for a study, from scratch."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from denseam.checks import numbers
from denseam.data import Dataset
from denseam.errors import InputError
from denseam.mesh import Mesh
from denseam.study.subjects import Subject, of_models
from denseam.training import Callback, Recipe, train

__all__ = ["train_models"]


def train_models(
    powers: Sequence[float],
    images: Dataset,
    out: Path,
    *,
    epochs: int,
    seed: int = 0,
    products: str = "full",
    device: torch.device | str = "cpu",
    callbacks: Callable[[], Sequence[Callback]] = tuple,
    mesh: Mesh | None = None,
) -> list[Subject]:
    """Train a model of each power with the presets in ``out/n2``, ``out/n3``, ...; resumable.

    Args:
        powers: n of each model, all different.
        images: what to train on.
        out: folder of the run folders.
        epochs: of each training.
        seed: of each training.
        products: see ``Recipe``.
        device: where to train.
        callbacks: called for each training, returns its callbacks.
        mesh: processes that share each training, see ``denseam.train``.

    Raises:
        InputError: for powers that are not all different.
        RunFolderError, SaveError: as ``denseam.train``.
    """
    powers = numbers("powers", powers)
    if len(set(powers)) < len(powers):
        raise InputError(f"powers = {powers}: wanted different ones")
    folders = []
    for power in powers:
        recipe = Recipe.paper(power, epochs, seed=seed, products=products).for_data(images.train)
        folders.append(out / f"n{power:g}")
        train(recipe, images, folders[-1], callbacks=callbacks(), device=device, mesh=mesh)
    return of_models(folders, images, device=device)
