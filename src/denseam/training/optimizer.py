"""The max-norm momentum rule of NIPS16, appendix A, as an optimizer."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

from denseam.checks import number
from denseam.errors import InputError
from denseam.kernels import Rule, choose

__all__ = ["MaxNormMomentum"]


class MaxNormMomentum(torch.optim.Optimizer):
    """The training rule of dense associative memories, for parameters of shape (K, N + C).

        V^mu  <- p V^mu - s dC/dxi^mu
        xi^mu <- clip(xi^mu + eps V^mu / max_I |V_I^mu|, -1, 1)

    for every memory mu, over all its N + C components I (NIPS16, appendix A). The largest component
    of every memory moves by eps, however small its gradient.

    s, the ``gradient_scale``, is 1 in NIPS16. C depends on T through beta = 1/T^n. The division
    cancels that factor while T is constant, but not during a ramp of T, when V mixes old and new
    gradients. With s = (T / T_ref)^n the units of the velocity do not change with T.

    Args:
        params: memories xi, one per row.
        lr: eps, the largest step of any component.
        momentum: p, in [0, 1).
        gradient_scale: s above; change it in ``param_groups`` along a temperature ramp.
        floor: memories with smaller velocities move less than ``lr``; a guard against 0/0. At
            least the smallest normal number of the memories' dtype (6e-5 in float16).

    Raises:
        InputError: for hyperparameters out of range or parameters that are not matrices.

    >>> xi = torch.zeros(1, 3, requires_grad=True)
    >>> rule = MaxNormMomentum([xi], lr=0.5)
    >>> (xi * torch.tensor([4.0, -2.0, 0.0])).sum().backward()
    >>> rule.step()
    >>> xi.detach()
    tensor([[-0.5000,  0.2500,  0.0000]])
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        gradient_scale: float = 1.0,
        floor: float = 1e-30,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "gradient_scale": gradient_scale,
            "floor": floor,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Train more memories, with the hyperparameters of their group.

        Raises:
            InputError: as for the optimizer itself; the group is not added then.
        """
        super().add_param_group(param_group)
        try:
            _check_group(self.param_groups[-1])
        except InputError:
            self.param_groups.pop()
            raise

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every memory that has a gradient; return the result of ``closure``."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for memories in group["params"]:
                if memories.grad is None:
                    continue
                target = memories.data.contiguous()  # a copy only if it is not contiguous
                names = ("momentum", "gradient_scale", "lr", "floor")
                rule = Rule(*(float(group[name]) for name in names))
                kernel = choose(memories.device, memories.dtype).kernel
                kernel.update(target, self.velocity(memories), memories.grad.contiguous(), rule)
                if target.data_ptr() != memories.data_ptr():
                    memories.data.copy_(target)
        return loss

    def velocity(self, memories: Tensor) -> Tensor:
        """Return V of a parameter, (K, N + C); zeros before its first step."""
        state = self.state[memories]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(memories, memory_format=torch.contiguous_format)
        velocity: Tensor = state["velocity"]
        return velocity


def _check_group(group: dict[str, Any]) -> None:
    for name in ("lr", "momentum", "gradient_scale", "floor"):
        limits: dict[str, Any] = {"least": 0, "below": 1} if name == "momentum" else {"above": 0}
        group[name] = number(name, group[name], **limits)
    for parameter in group["params"]:
        if parameter.ndim != 2:
            raise InputError(
                f"parameter of shape {tuple(parameter.shape)}: wanted memories (K, N + C)"
            )
