"""The max-norm momentum rule, one memory to a program: read once, written once."""

import triton
import triton.language as tl


@triton.jit
def max_norm_step(
    memories,  # (K, I), in and out
    velocity,  # (K, I), in and out
    gradient,  # (K, I)
    rule,  # (4,) float64: momentum, gradient_scale, learning_rate, floor
    components,
    BLOCK: tl.constexpr,  # >= components
):
    """Update one memory: V <- p V - s g;  xi <- clip(xi + eps V / max|V|, -1, 1)."""
    i = tl.arange(0, BLOCK)
    mask = i < components
    at = tl.program_id(0).to(tl.int64) * components + i
    xi = tl.load(memories + at, mask=mask, other=0.0)
    V = tl.load(velocity + at, mask=mask, other=0.0)
    g = tl.load(gradient + at, mask=mask, other=0.0)
    momentum = tl.load(rule).to(V.dtype)
    scale = tl.load(rule + 1).to(V.dtype)
    rate = tl.load(rule + 2).to(V.dtype)
    floor = tl.load(rule + 3).to(V.dtype)
    V = momentum * V - scale * g
    tl.store(velocity + at, V, mask=mask)
    step = rate / tl.maximum(tl.max(tl.abs(V), axis=0), floor)
    moved = tl.minimum(tl.maximum(xi + step * V, -1.0), 1.0)
    tl.store(memories + at, moved, mask=mask)
