"""Retrieval as a layer of any network: ``MemoryAttention``, the Hopfield layer of this house."""

from typing import Any

import torch
from torch import Tensor, nn

from denseam.checks import choice, number, seed_of, whole
from denseam.errors import InputError

__all__ = ["MemoryAttention"]


class MemoryAttention(nn.Module):
    """Queries retrieve from stored patterns, with projections that learn (arXiv 2008.02217).

    A state (B, L, D) or (B, D) becomes a query of every head, takes ``steps`` updates of the modern
    Hopfield energy over the keys of the stored patterns, and reads their values:

        q <- softmax(beta q keys^T) keys   (steps - 1 times),   out = softmax(beta q keys^T) values

    One step is attention. Gradients go everywhere; PyTorch's fused attention does the work.

    Args:
        n_inputs: D, of states.
        n_outputs: of the result; D by default.
        n_stored: components of stored patterns; D by default.
        n_memories: K, store so many patterns of its own, which learn; None: ``forward`` gets them.
        n_heads: heads.
        n_hidden: components of a query in each head; D by default, shared out.
        beta: > 0; 1 / sqrt(components of a query) by default, as in attention.
        steps: updates.
        project: learn projections of queries, keys, values and the result; False retrieves from
            the patterns as they are, one head.
        normalize: layer norm of states and stored patterns, which bounds their length.
        seed: of everything that is drawn.

    Raises:
        InputError: for sizes below 1, heads that do not share the components out, or another beta.

    >>> layer = MemoryAttention(16, n_memories=50, n_heads=2, steps=3)
    >>> layer(torch.randn(4, 7, 16)).shape
    torch.Size([4, 7, 16])
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int | None = None,
        *,
        n_stored: int | None = None,
        n_memories: int | None = None,
        n_heads: int = 1,
        n_hidden: int | None = None,
        beta: float | None = None,
        steps: int = 1,
        project: bool = True,
        normalize: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        D = whole("n_inputs", n_inputs)
        stored = D if n_stored is None else whole("n_stored", n_stored)
        out = D if n_outputs is None else whole("n_outputs", n_outputs)
        self.n_inputs, self.n_stored, self.n_outputs = D, stored, out
        self.n_heads, self.steps = whole("n_heads", n_heads), whole("steps", steps)
        if n_hidden is None and D % self.n_heads:
            raise InputError(f"n_heads = {n_heads} do not share out {D} components: give n_hidden")
        hidden = D // self.n_heads if n_hidden is None else whole("n_hidden", n_hidden)
        self.beta = hidden**-0.5 if beta is None else number("beta", beta, above=0)
        width = hidden * self.n_heads
        one_size = self.n_heads == 1 and stored == D and out == D and n_hidden in (None, D)
        if not choice("project", project, (True, False)) and not one_size:
            raise InputError("project = False: wanted one head, and one size of everything")
        generator = torch.Generator().manual_seed(seed_of(seed))

        def linear(inner: int, outer: int) -> nn.Module:
            if not project:
                return nn.Identity()
            layer = nn.Linear(inner, outer, bias=False)
            with torch.no_grad():
                layer.weight.copy_(torch.randn(outer, inner, generator=generator) * inner**-0.5)
            return layer

        self.query, self.key = linear(D, width), linear(stored, width)
        self.value, self.result = linear(stored, width), linear(width, out)
        self.state_norm = nn.LayerNorm(D) if normalize else nn.Identity()
        self.stored_norm = nn.LayerNorm(stored) if normalize else nn.Identity()
        self.stored: nn.Parameter | None = None
        if n_memories is not None:
            shape = whole("n_memories", n_memories), stored
            self.stored = nn.Parameter(torch.randn(shape, generator=generator))

    def forward(
        self, states: Tensor, stored: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return what the states retrieve, (B, L, D) -> (B, L, n_outputs), or (B, D) likewise.

        Args:
            states: (B, L, D) or (B, D).
            stored: (K, n_stored), or (B, K, n_stored), for each of the batch; those of the layer
                by default.
            mask: (K,) or (B, K) bool, True for patterns that take part; all by default.

        Raises:
            InputError: for shapes that do not fit, or no stored patterns.
        """
        patterns = self.stored if stored is None else stored
        if patterns is None:
            raise InputError("stored: this layer has no patterns of its own, wanted (K, D)")
        flat = states.ndim == 2
        x = states[:, None] if flat else states
        patterns = patterns[None] if patterns.ndim == 2 else patterns
        fits = patterns.ndim == 3 and patterns.shape[2] == self.n_stored
        if x.ndim != 3 or x.shape[2] != self.n_inputs or not fits or not patterns.shape[1]:
            raise InputError(
                f"states {tuple(states.shape)}, stored {tuple(patterns.shape)}: wanted "
                f"(B, L, {self.n_inputs}) and (K, {self.n_stored})"
            )
        if patterns.shape[0] not in (1, len(x)):
            raise InputError(f"stored: patterns for {len(patterns)} of a batch of {len(x)}")
        patterns = self.stored_norm(patterns).expand(len(x), -1, -1)
        q = self._heads(self.query(self.state_norm(x)))
        keys, values = self._heads(self.key(patterns)), self._heads(self.value(patterns))
        allowed = None if mask is None else self._mask(mask, len(x), keys.shape[2])
        options: dict[str, Any] = {"attn_mask": allowed, "scale": self.beta}
        for _ in range(self.steps - 1):
            q = nn.functional.scaled_dot_product_attention(q, keys, keys, **options)
        read = nn.functional.scaled_dot_product_attention(q, keys, values, **options)
        result: Tensor = self.result(read.transpose(1, 2).flatten(2))
        return result[:, 0] if flat else result

    def _heads(self, x: Tensor) -> Tensor:
        """Return (B, L, heads * hidden) as (B, heads, L, hidden)."""
        return x.reshape(*x.shape[:2], self.n_heads, -1).transpose(1, 2)

    @staticmethod
    def _mask(mask: Tensor, batch: int, count: int) -> Tensor:
        if mask.dtype != torch.bool or tuple(mask.shape) not in ((count,), (batch, count)):
            raise InputError(
                f"mask {tuple(mask.shape)} {mask.dtype}: wanted bool ({count},) or "
                f"({batch}, {count})"
            )
        return mask.expand(batch, count)[:, None, None]

    def extra_repr(self) -> str:
        return f"n_heads={self.n_heads}, beta={self.beta:g}, steps={self.steps}"
