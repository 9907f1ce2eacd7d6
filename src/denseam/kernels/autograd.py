"""Energy gap and log-energy as differentiable operators on top of a back end.

Registered with `torch.library`, so that autograd knows their first derivatives and `torch.compile`
takes them without a graph break. Operators take no objects, so an energy function is passed by
name and parameters. Inputs are not checked here: `classifier.py` does that.
"""

from typing import Any, NoReturn

import torch
from torch import Tensor

from denseam import energies
from denseam.energies import EnergyFunction, as_function
from denseam.errors import SecondDerivativeError
from denseam.kernels import look
from denseam.kernels.choice import by_name, choose
from denseam.kernels.interface import Kernel, Sums

# Images that go through the kernels at once where no overlaps need to be kept for a gradient:
# large enough for full speed, small enough that 8 MB of overlaps (K = 2000) stay in the cache.
CHUNK = 1024

# Instead of a back end's name: the operator chooses, since torch.compile does not trace inside it.
AUTO = ""


def energy_gap(
    visible: Tensor,
    memories: Tensor,
    energy: EnergyFunction | float,
    temperature: float,
    backend: str | None = None,
) -> Tensor:
    """Return the energy gap, (B, N), (K, N + C) -> (B, C); ``backend`` as in ``by_name``."""
    F, keep = as_function(energy), _needs_gradient(visible, memories)
    out: Tensor = torch.ops.denseam.energy_gap(
        visible, memories, F.name, F.parameters, temperature, backend or AUTO, keep
    )[0]
    return out


def log_energy(
    visible: Tensor, memories: Tensor, energy: EnergyFunction | float, backend: str | None = None
) -> Tensor:
    """Return log-energies, (B, N), (K, N + C) -> (B, C); see ``energy.log_energy``."""
    return _log_energy(visible, memories, as_function(energy), backend)[0]


def exact_log_energy(visible: Tensor, memories: Tensor, energy: EnergyFunction | float) -> Tensor:
    """Return log-energies before rounding, (B, N), (K, N + C) -> (B, C) float64.

    ``F.least_log`` where no memory is active. Gradients are those of ``log_energy``.
    """
    F = as_function(energy)
    rounded, _, values, scale = _log_energy(visible, memories, F, None)
    exact = look.log_energy(Sums(values, scale), F)
    # The value of `exact`, the gradient of `rounded`.
    slope = torch.where(rounded.isneginf(), 0.0, rounded - rounded.detach())
    return (exact + slope).clamp(min=F.least_log)


def labels(
    visible: Tensor, memories: Tensor, energy: EnergyFunction | float, backend: str | None = None
) -> Tensor:
    """Return labels, (B, N), (K, N + C) -> (B,) int64, by sums that cannot saturate or overflow."""
    F = as_function(energy)
    out: Tensor = torch.ops.denseam.labels(visible, memories, F.name, F.parameters, backend or AUTO)
    return out


def _log_energy(
    visible: Tensor, memories: Tensor, F: EnergyFunction, backend: str | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    keep = _needs_gradient(visible, memories)
    outputs: tuple[Tensor, Tensor, Tensor, Tensor] = torch.ops.denseam.log_energy(
        visible, memories, F.name, F.parameters, backend or AUTO, keep
    )
    return outputs


def _kernel(backend: str, like: Tensor, F: EnergyFunction) -> Kernel:
    return by_name(backend) if backend else choose(like.device, like.dtype, F).kernel


def _needs_gradient(*inputs: Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in inputs)


def _sums(
    visible: Tensor,
    memories: Tensor,
    F: EnergyFunction,
    backend: str,
    *,
    keep: bool,
    every_class: bool,
) -> tuple[Sums, Tensor]:
    """Return the sums of a batch and, with ``keep``, its overlaps (K, B), else an empty tensor."""
    kernel, classes = _kernel(backend, visible, F), memories[:, visible.shape[1] :]
    size = max(1, len(visible)) if keep else CHUNK
    looks = [  # an empty batch is one empty chunk
        look.look_at(kernel, F, visible[i : i + size], memories, classes, every_class=every_class)
        for i in range(0, max(1, len(visible)), size)
    ]
    overlaps = looks[0].overlaps if keep else visible.new_empty(0)
    if len(looks) == 1:
        return looks[0].sums, overlaps
    values = torch.cat([each.sums.values for each in looks], dim=1)
    return Sums(values, torch.cat([each.sums.scale for each in looks], dim=1)), overlaps


def _shapes(
    visible: Tensor, memories: Tensor, keep: bool, scales: int | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return empty tensors in the shapes of the operators' outputs, for tracing."""
    B, C = visible.shape[0], memories.shape[1] - visible.shape[1]
    return (
        visible.new_empty(B, C),
        visible.new_empty(memories.shape[0], B) if keep else visible.new_empty(0),
        visible.new_empty(C + 1, B),
        visible.new_empty(scales or C + 1, B),
    )


# ---- operators: `energy` and `parameters` are those of `energies.by_name` -----------------------


@torch.library.custom_op("denseam::energy_gap", mutates_args=())
def _gap_op(
    visible: Tensor,
    memories: Tensor,
    energy: str,
    parameters: list[float],
    temperature: float,
    backend: str,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    F = energies.by_name(energy, tuple(parameters))
    sums, overlaps = _sums(visible, memories, F, backend, keep=keep, every_class=False)
    gap = look.energy_gap(sums, F, temperature, visible.dtype).to(visible.dtype)
    return gap, overlaps, sums.values, sums.scale


@torch.library.custom_op("denseam::log_energy", mutates_args=())
def _log_op(
    visible: Tensor,
    memories: Tensor,
    energy: str,
    parameters: list[float],
    backend: str,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    F = energies.by_name(energy, tuple(parameters))
    sums, overlaps = _sums(visible, memories, F, backend, keep=keep, every_class=True)
    log = look.log_energy(sums, F).clamp(max=torch.finfo(visible.dtype).max)
    return log.to(visible.dtype), overlaps, sums.values, sums.scale


@torch.library.custom_op("denseam::labels", mutates_args=())
def _labels_op(
    visible: Tensor, memories: Tensor, energy: str, parameters: list[float], backend: str
) -> Tensor:
    F = energies.by_name(energy, tuple(parameters))
    # Without every_class a large off term could take all classes to 0.
    return look.winners(_sums(visible, memories, F, backend, keep=False, every_class=True)[0], F)


@torch.library.custom_op("denseam::gradients", mutates_args=())
def _gradients_op(
    coefficients: Tensor,
    scale: Tensor,
    overlaps: Tensor,
    visible: Tensor,
    memories: Tensor,
    energy: str,
    parameters: list[float],
    backend: str,
    needed: list[bool],
) -> tuple[Tensor, Tensor]:
    """Return gradients by images and by memories; empty where not needed."""
    F = energies.by_name(energy, tuple(parameters))
    seen = look.Look(
        _kernel(backend, visible, F), F, overlaps, memories[:, visible.shape[1] :],
        Sums(coefficients, scale),
    )  # fmt: skip
    gradients = seen.gradients(coefficients, class_gradient=needed[1])
    nothing = visible.new_empty(0)
    to_images = gradients.to_images_of_whole(memories) if needed[0] else nothing
    return to_images, gradients.to_memories(visible) if needed[1] else nothing.clone()


@_gap_op.register_fake
def _(visible: Tensor, memories: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _shapes(visible, memories, keep=others[-1], scales=1)


@_log_op.register_fake
def _(visible: Tensor, memories: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _shapes(visible, memories, keep=others[-1])


@_labels_op.register_fake
def _(visible: Tensor, *_others: Any) -> Tensor:
    return visible.new_empty(visible.shape[0], dtype=torch.int64)


@_gradients_op.register_fake
def _(*arguments: Any) -> tuple[Tensor, Tensor]:
    _, _, _, visible, memories, *_, needed = arguments
    nothing = visible.new_empty(0)
    return (
        visible.new_empty(visible.shape) if needed[0] else nothing,
        memories.new_empty(memories.shape) if needed[1] else nothing.clone(),
    )


# ---- their derivatives ---------------------------------------------------------------------------


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Save the inputs and outputs that the backward pass needs; only the gap has a temperature."""
    visible, memories, ctx.energy, ctx.parameters, *temperature, ctx.backend, _keep = inputs
    ctx.temperature = temperature[0] if temperature else None
    _, overlaps, values, scale = output
    ctx.mark_non_differentiable(overlaps, values, scale)
    ctx.save_for_backward(visible, memories, overlaps, values, scale)


def _backward(ctx: Any, upstream: Tensor, *_unused: Tensor) -> tuple[Tensor | None, ...]:
    visible, memories, overlaps, values, scale = ctx.saved_tensors
    F = energies.by_name(ctx.energy, tuple(ctx.parameters))
    if ctx.temperature is None:
        coefficients = look.log_coefficients(upstream, Sums(values, scale), F)
    else:
        coefficients = look.gap_coefficients(upstream, scale, F, ctx.temperature)
    needed = list(ctx.needs_input_grad[:2])
    gradients = _gradients_op(
        coefficients, scale, overlaps, visible, memories, ctx.energy, ctx.parameters, ctx.backend,
        needed,
    )  # fmt: skip
    pairs = zip(gradients, needed, strict=True)
    returned = [gradient if need else None for gradient, need in pairs]
    return (*returned, *[None] * (len(ctx.needs_input_grad) - 2))


def _refuse(ctx: Any, *upstream: Tensor) -> NoReturn:
    raise SecondDerivativeError(
        "the derivative of a DenseAM gradient was asked for; its kernels have first derivatives "
        "only. For second ones, differentiate the functions of denseam.energy twice"
    )


torch.library.register_autograd("denseam::energy_gap", _backward, setup_context=_save)
torch.library.register_autograd("denseam::log_energy", _backward, setup_context=_save)
torch.library.register_autograd("denseam::gradients", _refuse)
