"""Energy gap and log-energy as differentiable operators on top of a back end.

Registered with `torch.library`, so that autograd knows their first derivatives and `torch.compile`
takes them as they are, without a graph break. Inputs are not checked here: `model.py` does that.
"""

from typing import Any, NoReturn

import torch
from torch import Tensor

from denseam.errors import SecondDerivativeError
from denseam.kernels import energies
from denseam.kernels.choice import by_name, choose
from denseam.kernels.interface import Kernel, Sums

__all__ = ["decide", "energy_gap", "log_energy"]

# Images that go through the kernels at once where no overlaps need to be kept for a gradient:
# large enough for full speed, small enough that 8 MB of overlaps (K = 2000) stay in the cache.
CHUNK = 1024

# In place of a back end's name: chosen within the operator, where torch.compile does not trace.
AUTO = ""


def energy_gap(
    visible: Tensor, memories: Tensor, power: float, temperature: float, backend: str | None = None
) -> Tensor:
    """(B, N), (K, N + C) -> (B, C); see ``energy.energy_gap``. ``backend`` as in ``by_name``."""
    keep = _needs_gradient(visible, memories)
    out: Tensor = _gap_op(visible, memories, power, temperature, backend or AUTO, keep)[0]
    return out


def log_energy(
    visible: Tensor, memories: Tensor, power: float, backend: str | None = None
) -> Tensor:
    """(B, N), (K, N + C) -> (B, C); see ``energy.log_energy``."""
    keep = _needs_gradient(visible, memories)
    out: Tensor = _log_op(visible, memories, power, backend or AUTO, keep)[0]
    return out


def decide(visible: Tensor, memories: Tensor, power: float, backend: str | None = None) -> Tensor:
    """(B, N), (K, N + C) -> (B,) int64: the label, from sums that neither saturate nor overflow."""
    out: Tensor = _decide_op(visible, memories, power, backend or AUTO)
    return out


def _kernel(backend: str, like: Tensor) -> Kernel:
    return by_name(backend) if backend else choose(like.device, like.dtype).kernel


def _needs_gradient(*inputs: Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in inputs)


def _sums(
    visible: Tensor, memories: Tensor, power: float, backend: str, keep: bool, every_class: bool
) -> tuple[Sums, Tensor]:
    """The sums of a batch and, with ``keep``, its overlaps (K, B), else an empty tensor."""
    kernel, class_memories = _kernel(backend, visible), memories[:, visible.shape[1] :]
    parts = []
    overlaps = visible.new_empty(0)
    n_images = max(1, visible.shape[0])  # an empty batch is one empty chunk
    size = n_images if keep else CHUNK
    for start in range(0, n_images, size):
        overlaps = kernel.overlaps(visible[start : start + size], memories)
        parts.append(kernel.sums(overlaps, class_memories, power, every_class=every_class))
    if len(parts) == 1:
        return parts[0], overlaps if keep else visible.new_empty(0)
    values = torch.cat([p.values for p in parts], dim=1)
    return Sums(values, torch.cat([p.scale for p in parts], dim=1)), visible.new_empty(0)


def _sizes(visible: Tensor, memories: Tensor, keep: bool) -> tuple[int, int, int, int]:
    n_images, n_visible = visible.shape
    n_classes = memories.shape[1] - n_visible
    return n_images, n_classes, memories.shape[0] if keep else 0, n_images if keep else 0


def _shapes(
    visible: Tensor, memories: Tensor, keep: bool, scales: int | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The outputs of the operators below without their contents, for tracing."""
    B, C, kept_k, kept_b = _sizes(visible, memories, keep)
    overlaps = visible.new_empty(kept_k, kept_b) if keep else visible.new_empty(0)
    return (
        visible.new_empty(B, C),
        overlaps,
        visible.new_empty(C + 1, B),
        visible.new_empty(scales or C + 1, B),
    )


# ---- operators -------------------------------------------------------------------------------


@torch.library.custom_op("denseam::energy_gap", mutates_args=())
def _gap_op(
    visible: Tensor, memories: Tensor, power: float, temperature: float, backend: str, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    sums, overlaps = _sums(visible, memories, power, backend, keep, every_class=False)
    return energies.energy_gap(sums, power, temperature), overlaps, sums.values, sums.scale


@torch.library.custom_op("denseam::log_energy", mutates_args=())
def _log_op(
    visible: Tensor, memories: Tensor, power: float, backend: str, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    sums, overlaps = _sums(visible, memories, power, backend, keep, every_class=True)
    return energies.log_energy(sums, power), overlaps, sums.values, sums.scale


@torch.library.custom_op("denseam::decide", mutates_args=())
def _decide_op(visible: Tensor, memories: Tensor, power: float, backend: str) -> Tensor:
    # Without every_class a large off term could take all classes to 0.
    sums, _ = _sums(visible, memories, power, backend, keep=False, every_class=True)
    return energies.decide(sums, power)


@torch.library.custom_op("denseam::gradients", mutates_args=())
def _gradients_op(
    coefficients: Tensor,
    scale: Tensor,
    overlaps: Tensor,
    visible: Tensor,
    memories: Tensor,
    power: float,
    backend: str,
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    """To the images and to the memories; an empty tensor for the one that is not wanted."""
    n_visible = visible.shape[1]
    gradients = energies.Gradients(
        _kernel(backend, visible), overlaps, memories[:, n_visible:], coefficients, scale, power,
        class_gradient=wanted[1],
    )  # fmt: skip
    nothing = visible.new_empty(0)
    to_images = gradients.to_images_of_whole(memories) if wanted[0] else nothing
    return to_images, gradients.to_memories(visible) if wanted[1] else nothing.clone()


@_gap_op.register_fake
def _(
    visible: Tensor, memories: Tensor, power: float, temperature: float, backend: str, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _shapes(visible, memories, keep, scales=1)


@_log_op.register_fake
def _(
    visible: Tensor, memories: Tensor, power: float, backend: str, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _shapes(visible, memories, keep)


@_decide_op.register_fake
def _(visible: Tensor, memories: Tensor, power: float, backend: str) -> Tensor:
    return visible.new_empty(visible.shape[0], dtype=torch.int64)


@_gradients_op.register_fake
def _(
    coefficients: Tensor,
    scale: Tensor,
    overlaps: Tensor,
    visible: Tensor,
    memories: Tensor,
    power: float,
    backend: str,
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    nothing = visible.new_empty(0)
    return (
        visible.new_empty(visible.shape) if wanted[0] else nothing,
        memories.new_empty(memories.shape) if wanted[1] else nothing.clone(),
    )


# ---- their derivatives -----------------------------------------------------------------------


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Both operators alike: visible, memories and power come first, backend and keep last."""
    visible, memories, ctx.power, *rest = inputs
    ctx.temperature, ctx.backend = (rest[0] if len(rest) == 3 else None), rest[-2]
    _, overlaps, values, scale = output
    ctx.mark_non_differentiable(overlaps, values, scale)
    ctx.save_for_backward(visible, memories, overlaps, values, scale)


def _backward(ctx: Any, upstream: Tensor, *_unused: Tensor) -> tuple[Tensor | None, ...]:
    visible, memories, overlaps, values, scale = ctx.saved_tensors
    if ctx.temperature is None:
        coefficients = energies.log_coefficients(upstream, Sums(values, scale), ctx.power)
    else:
        coefficients = energies.gap_coefficients(upstream, scale, ctx.power, ctx.temperature)
    wanted = list(ctx.needs_input_grad[:2])
    found = _gradients_op(
        coefficients, scale, overlaps, visible, memories, ctx.power, ctx.backend, wanted
    )
    gradients = [g if want else None for g, want in zip(found, wanted, strict=True)]
    return (*gradients, *[None] * (len(ctx.needs_input_grad) - 2))


def _refuse(ctx: Any, *upstream: Tensor) -> NoReturn:
    raise SecondDerivativeError(
        "the derivative of a DenseAM gradient was asked for; its kernels have first derivatives "
        "only. For second ones, differentiate the functions of denseam.energy twice"
    )


torch.library.register_autograd("denseam::energy_gap", _backward, setup_context=_save)
torch.library.register_autograd("denseam::log_energy", _backward, setup_context=_save)
torch.library.register_autograd("denseam::gradients", _refuse)
