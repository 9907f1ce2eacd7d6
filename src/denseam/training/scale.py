"""Recipes from data: sizes, first memories and steps that suit any examples, power and energy.

Memories begin as examples, or as the means of classes where those classify better, on one scale for
every F: the fields of an example have the mean and deviation

    mean = n s / 2,   deviation = s                                                     s = 2

so that F(h) / F(mean) = (h / mean)^n spreads by a factor of about e^2 from memory to memory,
whatever n is, and a class neuron, which moves a field by 2, counts as much as a deviation. An
exponential has beta = n / mean = 2 / s. Log-energies under a cross-entropy never saturate, and one
factor for all of them makes the leads of the first look a few nats. Steps are in units of the
deviation of memories.
docs/data_sets.md has the measurements, docs/developers/log.md what did not work.
"""

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from denseam import energies
from denseam.baselines import NETWORKS, binarise
from denseam.classifier import Classifier
from denseam.convolutional import ConvolutionalAM
from denseam.data import Examples, ImageSet
from denseam.energies import EnergyFunction, RectifiedPolynomial
from denseam.errors import InputError
from denseam.fronts import Convolutional, Table, learns
from denseam.kernels import choose, look_at
from denseam.kernels.look import Look
from denseam.precision import in_full_precision
from denseam.training.recipe import COMMAND_EPOCHS, Recipe

__all__ = [
    "DRAWN",
    "LOOKED_AT",
    "begin_at_examples",
    "class_rows",
    "first_memories",
    "fit_recipe",
    "fit_scale",
    "front_of",
    "knows_presets",
    "scale_of",
    "sizes",
    "unit_temperature",
    "usual_epochs_of",
    "visible_of",
]

# Chosen on eight data sets at n = 1 to 30 and the exponential; see the log.
_SPREAD = 2.0  # s, in units of a class neuron
_SHARPNESS = 2.0  # n s / mean
_LEAD = 4.0  # median lead of the best class at the start, in nats
# Length of all steps of a component, in deviations of memories; short where means classify best,
# longer by a power of the number of examples above _MANY: a root, and more where n is small, whose
# memories become features, far from the examples that they begin as.
_TRAVEL = {"samples": 12.0, "classes": 4.0}
_MANY = 3000
_LONGEST_STEP = 0.3  # in deviations of memories
_LAST_STEP = 0.05  # of the first
_BEHIND_FRONT = 0.3  # of these steps, behind a front that learns; docs/convolutions.md
_NOISE = 0.1  # on memories, in their deviations
_TO_MEANS = 0.9  # how far memories go from an example to the mean of its class

LOOKED_AT = 1000  # examples that statistics are taken of
DRAWN = 10_000  # examples that memories are drawn from
_MEMORIES = 50, 300, 2000  # fewest; most of small sets; most
_PER_MEMORY = 15  # examples of large sets for each memory
_BATCHES = 30  # of an epoch, until batches have _BATCH examples
_BATCH, _LARGE_BATCHES = 100, 300
_STEPS = 1500  # of a run whose epochs nobody has named
_EPOCHS = 40, COMMAND_EPOCHS  # fewest and most of such a run


@dataclass(frozen=True)
class Start:
    """Memories to begin with, and what they look like to examples.

    Attributes:
        memories: (K, N + C) in [-1, 1].
        spread: s, the deviation of the fields; less than was asked for where [-1, 1] has no room.
        deviation: of the components of visible memories from their mean.
        look: of the memories at some examples.
    """

    memories: Tensor
    spread: float
    deviation: float
    look: Look


def knows_presets(images: Examples, recipe: Recipe) -> bool:
    """Return whether the presets of the paper were made for this recipe on these images.

    They were made for MNIST over 300 epochs or more: 784 pixels whose mean sum of |v_i| is that
    of MNIST. Networks other than dense associative memories have presets only, and so has
    training on attacked images.
    """
    if recipe.network not in _DENSE:
        return "front" not in NETWORKS[recipe.network].usual
    long = recipe.epochs >= COMMAND_EPOCHS or bool(recipe.adversarial)
    alike = isinstance(images, ImageSet) and images.n_inputs == _MNIST_PIXELS
    return long and alike and recipe.for_data(images) == recipe


_MNIST_PIXELS = 784
_DENSE = ("dam", "exponential")
_PAPERS = {"loss_power", "temperature_start", "temperature_epochs"}  # of the paper's objective only


@in_full_precision
def fit_recipe(
    images: Examples,
    power: float | None = None,
    epochs: int | None = None,
    *,
    network: str = "dam",
    **values: Any,
) -> Recipe:
    """Return a recipe whose scales are found from the training examples.

    On MNIST from 300 epochs on, and for networks that are no dense associative memories, it is
    ``Recipe.paper(...).for_data(images)``. Everywhere else front, initial memories, their number,
    temperature, factor of log-energies, steps and batches follow from the examples.

    Args:
        images: the training examples.
        power: n >= 1; may be left out where ``Recipe.paper`` lets it.
        epochs: how often every example is shown; by default as many as make 1500 steps, within 40
            and 300, and 300 where there are presets.
        network: "dam", or one of ``denseam.baselines``.
        **values: fields of ``Recipe`` that are not to be found, by name.

    Raises:
        InputError: as for ``Recipe.paper``.

    >>> dots = torch.eye(4).reshape(4, 2, 2).repeat(25, 1, 1)
    >>> images = ImageSet(dots, torch.arange(100) % 4, n_classes=4, name="dots")
    >>> recipe = fit_recipe(images, 20, n_memories=30)
    >>> recipe.objective, recipe.n_memories, recipe.epochs, recipe.temperature
    ('cross-entropy', 30, 60, 20.0)
    """
    if not isinstance(images, ImageSet):
        values = {"front": Table.name, **values}
    usual_epochs = usual_epochs_of(network) if epochs is None else epochs
    preset = Recipe.paper(power, usual_epochs, network=network, **values)
    if "front" in NETWORKS[network].usual:
        return _behind_front(preset, images, values)
    if knows_presets(images, preset):
        return preset.for_data(images, front_of(preset, images)).replace(**values)
    drawn, C = _drawn(images, preset.seed), images.n_classes
    usual: dict[str, Any] = {
        "initial": "samples", "sampling": "natural", "loss_power": 2,
        "objective": "paper" if _PAPERS & set(values) else "cross-entropy",
        "front": _front_name(drawn), **sizes(len(images), C, epochs),
    }  # fmt: skip
    first = preset.replace(temperature_epochs=0).replace(**{**usual, **values})
    visible = visible_of(first, drawn, front_of(first, images))
    return fit_scale(first, visible, drawn.labels, C, len(images), values)


def usual_epochs_of(network: str) -> int:
    """Return the number of epochs of a run that names none, where presets are followed."""
    return int(NETWORKS[network].usual.get("epochs", COMMAND_EPOCHS))


def _behind_front(recipe: Recipe, images: Examples, values: dict[str, Any]) -> Recipe:
    """Return the recipe of a network behind a front that learns, scaled to its first features.

    Memories take shorter steps than memories of examples, because what they look at moves too.
    """
    front = front_of(recipe, images)
    if not NETWORKS[recipe.network].by_max_norm:
        return recipe
    drawn, C = _drawn(images, recipe.seed), images.n_classes
    seen = _seen_of(recipe, drawn, front)
    recipe = fit_scale(recipe, seen, drawn.labels, C, len(images), {"initial": "", **values})
    return _with(recipe, values, learning_rate=recipe.learning_rate * _BEHIND_FRONT)


def sizes(count: int, n_classes: int, epochs: int | None = None) -> dict[str, int]:
    """Return the number of memories, images of a class in a batch, and epochs, for M examples."""
    few, some, most = _MEMORIES
    K = min(count, max(some, count // _PER_MEMORY, 10 * n_classes))
    batch = min(max(5, count // _BATCHES), max(_BATCH, count // _LARGE_BATCHES))
    per_class = max(1, round(batch / n_classes))
    steps = max(1, round(count / (per_class * n_classes)))
    return {
        "n_memories": min(max(few, K), max(most, 2 * n_classes)),
        "per_class": per_class,
        "epochs": epochs or min(max(_EPOCHS[0], -(-_STEPS // steps)), _EPOCHS[1]),
    }


def fit_scale(
    recipe: Recipe,
    visible: Tensor,  # (M', N) float32, of some examples
    labels: Tensor,  # (M',) int64
    n_classes: int,
    count: int,  # M, of all examples
    values: dict[str, Any],
) -> Recipe:
    """Return the recipe with the scales that suit examples: of memories, energies and steps.

    Fields in ``values`` stay.
    """
    if "initial" not in values:
        means = _means_are_nearer(visible, labels, n_classes, recipe.seed)
        recipe = recipe.replace(initial="classes" if means else "samples")
    start = first_memories(recipe, visible, labels, n_classes)
    recipe = _with(recipe, values, temperature=recipe.power * start.spread / _SHARPNESS)
    if recipe.objective == "paper" and isinstance(start.look.F, RectifiedPolynomial):
        recipe = _with(recipe, values, temperature=_unit_gap(start.look, recipe.temperature))
    steps = recipe.epochs * max(1, round(count / (recipe.per_class * n_classes)))
    mean_step = (1 - _LAST_STEP) / -math.log(_LAST_STEP)  # in units of the first
    many = max(1, count / _MANY) ** (0.5 + 3.5 / max(recipe.power, 2) ** 2)
    travel = _TRAVEL.get(recipe.initial, _TRAVEL["samples"]) * many
    step = start.deviation * min(travel / (steps * mean_step), _LONGEST_STEP)
    return _with(
        recipe, values,
        logit_scale=scale_of(start.look.log_energy().clamp(min=start.look.F.least_log)),
        learning_rate=min(max(step, 1e-9), 1.0),
        learning_rate_decay=round(_LAST_STEP ** (1 / recipe.epochs), 6),
    )  # fmt: skip


def _with(recipe: Recipe, values: dict[str, Any], **fields: float) -> Recipe:
    """Return the recipe with other fields, to three digits, but for those that a user has set."""
    new = {name: x for name, x in fields.items() if name not in values}
    new = {name: x if name.endswith("decay") else _three_digits(x) for name, x in new.items()}
    return recipe.replace(**new)


def begin_at_examples(recipe: Recipe, images: Examples, front: nn.Module | None) -> Tensor:
    """Return the memories (K, N + C) that a recipe begins with, made of training examples."""
    drawn = _drawn(images, recipe.seed)
    visible = _seen_of(recipe, drawn, front)
    return first_memories(recipe, visible, drawn.labels, images.n_classes).memories


def _drawn(images: Examples, seed: int) -> Examples:
    return images.subset(class_rows(images.labels, min(len(images), DRAWN), seed))


def first_memories(recipe: Recipe, visible: Tensor, labels: Tensor, n_classes: int) -> Start:
    """Return memories that begin as examples (M', N), or between them and the means of classes."""
    generator = torch.Generator().manual_seed(recipe.seed)
    K, N = recipe.n_memories, visible.shape[1]
    rows = class_rows(labels, K, recipe.seed)
    mean, kind = visible.mean(dim=0), labels[rows]
    memories = visible[rows]
    if recipe.initial == "classes":
        memories = memories.lerp(_class_means(visible, labels, n_classes)[kind], _TO_MEANS)
    memories = memories - mean
    size = max(float(memories.square().mean().sqrt()), 1e-6)
    memories += _NOISE * size * torch.randn(K, N, generator=generator, dtype=memories.dtype)
    looked_at = class_rows(labels, min(len(labels), LOOKED_AT), recipe.seed + 1)
    v = visible[looked_at]
    level, spread = _fields(memories, v, rows[:, None] == looked_at)
    factor = _SPREAD / spread
    exponential = math.isinf(_energy(recipe, 1.0).power)
    mean_field = 0.0 if exponential else recipe.power * _SPREAD / _SHARPNESS
    with_mean = float((v @ mean).mean())
    shift = (mean_field - factor * level) / with_mean if abs(with_mean) > 1e-6 else 0.0
    memories = factor * memories + shift * mean
    largest = memories.abs().flatten().kthvalue(max(1, round(0.999 * memories.numel()))).values
    room = 1 / max(float(largest), 1e-9)
    # Homogeneous F do not notice if all components shrink; coarse products want large ones.
    scale = room if recipe.products == "8-bit" else min(1.0, room)
    votes = torch.full((K, n_classes), -1 / max(n_classes - 1, 1), dtype=memories.dtype)
    votes[torch.arange(K), kind] = 1
    whole = torch.cat([scale * memories, min(scale, 1.0) * votes], dim=1).clamp(-1, 1)
    spread = scale * _SPREAD
    F = _energy(recipe, recipe.power * spread / _SHARPNESS)
    kernel = choose(whole.device, whole.dtype, F).kernel
    look = look_at(kernel, F, v, whole, whole[:, N:].contiguous(), every_class=True)
    return Start(whole, spread, scale * factor * size, look)


def _fields(memories: Tensor, v: Tensor, same: Tensor) -> tuple[float, float]:
    """Return mean and deviation of overlaps (K, B), leaving out memories that are the example."""
    overlaps = (memories @ v.T).masked_fill(same, 0.0)
    count = (~same).sum(dim=0).clamp(min=1)
    level = overlaps.sum(dim=0) / count
    squares = (overlaps - level).square().masked_fill(same, 0.0).sum(dim=0) / count
    return float(level.mean()), max(float(squares.mean().sqrt()), 1e-9)


def class_rows(labels: Tensor, count: int, seed: int) -> Tensor:
    """Draw rows, (count,) int64: of every class its share, one at least if ``count`` allows."""
    M = len(labels)
    order = torch.randperm(M, generator=torch.Generator().manual_seed(seed))
    order = order[labels[order].argsort(stable=True)]
    counts = torch.bincount(labels)
    rank = torch.arange(M) - (counts.cumsum(0) - counts)[labels[order]]
    share = torch.where(rank == 0, -1.0, (rank + 0.5) / counts[labels[order]])
    rows = order[share.argsort(stable=True)]
    return rows.repeat(-(-count // M))[:count]


def _means_are_nearer(visible: Tensor, labels: Tensor, n_classes: int, seed: int) -> bool:
    """Return whether means of classes classify examples better than the nearest other example."""
    rows = class_rows(labels, min(len(labels), LOOKED_AT), seed)
    v, right = visible[rows], labels[rows]
    to_examples = torch.cdist(v, v).fill_diagonal_(torch.inf)
    nearest = (right[to_examples.argmin(dim=1)] != right).double().mean()
    to_means = torch.cdist(v, _class_means(visible, labels, n_classes))
    counts = torch.bincount(labels, minlength=n_classes)[right].clamp(min=2)
    # The distance to the mean of the other examples of the class.
    to_means[torch.arange(len(v)), right] *= counts / (counts - 1)
    return bool((to_means.argmin(dim=1) != right).double().mean() < nearest)


def _class_means(visible: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Return the mean example of each class, (C, N)."""
    sums = visible.new_zeros(n_classes, visible.shape[1]).index_add_(0, labels, visible)
    return sums / torch.bincount(labels, minlength=n_classes).clamp(min=1)[:, None]


def _energy(recipe: Recipe, temperature: float) -> EnergyFunction:
    name = "exponential" if recipe.network == "exponential" else recipe.energy
    return energies.FUNCTIONS[name].matched(recipe.power, temperature)


def scale_of(log_energies: Tensor) -> float:
    """Return the factor that makes the median lead of the best class a few nats, (B, C) -> s."""
    lead = 1.0
    if log_energies.shape[1] > 1:
        best = log_energies.topk(2, dim=1).values
        lead = float((best[:, 0] - best[:, 1]).median())
    return _three_digits(min(max(_LEAD / max(lead, 1e-9), 1e-3), 1e6))


def _three_digits(x: float) -> float:
    return float(f"{x:.3g}")


def _unit_gap(look: Look, temperature: float) -> float:
    """Return T at which the median over examples of the largest |energy gap| is 1."""
    gap = float(look.energy_gap(temperature).abs().amax(dim=1).median())
    return float(temperature * max(gap, 1e-12) ** (1 / look.F.power))


def unit_temperature(model: Classifier, images: Examples, seed: int) -> float:
    """Return T at which the median over examples of the largest |energy gap| is 1.

    Labels do not depend on it. Training by log-energies knows no T, and tanh would say 1 of
    every class that leads.
    """
    inputs = images.subset(class_rows(images.labels, min(len(images), LOOKED_AT), seed)).inputs(
        model.input_dtype, model.memories.device
    )
    with torch.no_grad():
        gap = float(model.scores(inputs, "energy_gap").abs().amax(dim=1).double().median())
    return _three_digits(model.temperature * max(gap, 1e-12) ** (1 / model.power))


def _front_name(examples: Examples) -> str:
    """Return the front that examples get: pictures none, everything else the one of tables.

    Fields are moved by the overlap with the mean example, which pictures around 0 do not have.
    """
    if not isinstance(examples, ImageSet) or 1 in examples.input_shape[-2:]:
        return "table"
    v = examples.subset(slice(0, LOOKED_AT)).inputs()
    mean = v.mean(dim=0)
    spread = float((v - mean).square().sum(dim=1).mean()) / math.sqrt(examples.n_inputs)
    return "none" if float(mean.square().sum()) > spread else "table"


def front_of(recipe: Recipe, images: Examples) -> nn.Module | None:
    """Return the front of a recipe, fitted to the training examples; None without one.

    Raises:
        InputError: for convolutions of examples that are no pictures, or too small.
    """
    if recipe.front == Convolutional.name:
        if not isinstance(images, ImageSet):
            raise InputError(
                f"front = {recipe.front!r}: wanted pictures, got rows of {images.n_inputs} numbers"
            )
        power = NETWORKS[recipe.network].level_power
        return Convolutional(images.input_shape, recipe.levels, power=power, seed=recipe.seed)
    return Table.fit(images.inputs(torch.float64)) if recipe.front == Table.name else None


def _seen_of(recipe: Recipe, images: Examples, front: nn.Module | None) -> Tensor:
    """Return examples as a memory sees them, (M', D): a patch at a random place, or all of one."""
    visible = visible_of(recipe, images, front)
    if not issubclass(NETWORKS[recipe.network], ConvolutionalAM):
        return visible
    shape = getattr(front, "map_shape", images.input_shape)
    model = ConvolutionalAM(visible.shape[1], 1, 1, 2, 1.0, patch=recipe.patch, shape=shape)
    generator, (M, P) = torch.Generator().manual_seed(recipe.seed), (len(visible), model.n_places)
    places = torch.randint(P, (M,), generator=generator)
    seen = [  # example by example: the patches of all would be large
        model.patches(row)[place] for row, place in zip(visible, places.tolist(), strict=True)
    ]
    return torch.stack(seen)


def visible_of(recipe: Recipe, images: Examples, front: nn.Module | None) -> Tensor:
    """Return examples as memories look at them, (M, N) in the recipe's dtype."""
    dtype = getattr(torch, recipe.dtype)
    visible = images.inputs(torch.float64 if getattr(front, "exact", False) else dtype)
    if front is not None:
        front = deepcopy(front).to("cpu", dtype) if learns(front) else front
        with torch.no_grad():
            visible = torch.cat([front(part).to(dtype) for part in torch.split(visible, LOOKED_AT)])
    return binarise(visible) if recipe.binarised else visible
