"""Full precision inside a caller's ``torch.autocast``, which would round matrix products.

Labels, attacks and certificates are decided by small differences of scores: mixed precision around
a call must not change them. What a module asks for inside itself stays.
"""

import functools
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

__all__ = ["exactly", "full_precision", "in_full_precision", "mixed"]

P = ParamSpec("P")
Result = TypeVar("Result")

_KINDS = ("cpu", "cuda", "xpu", "mps")


def mixed(kind: str) -> bool:
    """Return whether mixed precision is on for a type of device, such as "cpu"."""
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Return a context without mixed precision on the device of a tensor."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if mixed(kind) else nullcontext()


def exactly(
    function: Callable[[Tensor], Tensor], inputs: Tensor, parameters: Iterable[Tensor]
) -> Tensor:
    """Return a function of inputs; mixed precision rounds neither it nor its gradient.

    A backward pass inside of ``torch.autocast`` rounds products whose forward pass was exact.

    Args:
        function: one tensor to one tensor.
        inputs: its argument.
        parameters: all that it has gradients to besides.
    """
    if not mixed(inputs.device.type):
        return function(inputs)
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        with full_precision(inputs):
            return function(inputs)
    sources = (p for p in parameters if p.requires_grad)
    exact: Tensor = _Exact.apply(function, inputs, *sources)  # type: ignore[no-untyped-call]
    return exact


class _Exact(torch.autograd.Function):
    """A function whose gradient is computed in full precision."""

    @staticmethod
    def forward(
        ctx: Any, function: Callable[[Tensor], Tensor], inputs: Tensor, *parameters: Tensor
    ) -> Tensor:
        needed = ctx.needs_input_grad[1]
        with torch.enable_grad(), full_precision(inputs):
            leaf = inputs.detach().requires_grad_(needed)
            output = function(leaf)
        ctx.output, ctx.sources = output, [leaf] * needed + list(parameters)
        return output.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        with full_precision(gradient):
            gradients = torch.autograd.grad(
                ctx.output, ctx.sources, gradient, retain_graph=True, allow_unused=True
            )
        return (None, *([] if ctx.needs_input_grad[1] else [None]), *gradients)


def in_full_precision(function: Callable[P, Result]) -> Callable[P, Result]:
    """Return a function that runs without mixed precision, wherever it is called.

    >>> @in_full_precision
    ... def product(x):
    ...     return (x @ x).dtype
    >>> with torch.autocast("cpu", dtype=torch.bfloat16):
    ...     product(torch.ones(2, 2))
    torch.float32
    """

    @functools.wraps(function)
    def exact(*args: P.args, **options: P.kwargs) -> Result:
        with ExitStack() as stack:
            for kind in filter(mixed, _KINDS):
                stack.enter_context(torch.autocast(kind, enabled=False))
            return function(*args, **options)

    return exact
