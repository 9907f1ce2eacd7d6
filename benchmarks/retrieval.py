"""One retrieval step over many memories, beside its two matrix products and beside other code.

    python benchmarks/retrieval.py                 # K = 10^5, B = 256, N = 784
    python benchmarks/retrieval.py --memories 20000 --rounds 5

Times are interleaved, and ratios are medians over rounds: a machine that others use as well slows
all of them alike. "hopfield-layers" is softmax attention with an array of (B, K), as that package
computes it without projections; "autograd" differentiates the energy, as hamux-like code does.
Both are typed in below. The retrieved states are compared before anything is timed.
"""

import argparse
import statistics
import time

import torch
from torch import Tensor

from denseam.energies import Entmax, Exponential, LogSumReLU, Polynomial, RectifiedPolynomial
from denseam.kernels import choose
from denseam.retrieval import AssociativeMemory


def attention(states: Tensor, memories: Tensor, beta: float) -> Tensor:
    scores = torch.bmm(states[None], memories[None].transpose(1, 2)) * beta
    return torch.bmm(torch.softmax(scores, dim=-1), memories[None])[0]


def by_autograd(states: Tensor, memories: Tensor, energy) -> Tensor:
    leaves = states.detach().requires_grad_()
    half = leaves.square().sum() / 2
    (slope,) = torch.autograd.grad(energy(leaves @ memories.T).sum() + half, leaves)
    return (leaves - slope).detach()


def energies_of(beta: float):
    """The energies of other code, of overlaps (B, K)."""
    return {
        "Exponential": lambda h: -torch.logsumexp(beta * h, dim=1) / beta,
        "RectifiedPolynomial": lambda h: -((h.relu() ** 30).sum(dim=1) ** (1 / 30)),
    }


def seconds(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--neurons", type=int, default=784)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    K, B, N = args.memories, args.batch, args.neurons
    generator = torch.Generator().manual_seed(0)
    memories = torch.randn(K, N, generator=generator)
    memories = memories / memories.norm(dim=1, keepdim=True) * 3
    states = memories[:B] + 0.02 * torch.randn(B, N, generator=generator)
    beta = 0.5
    rows = {
        "Exponential": Exponential(beta), "RectifiedPolynomial": RectifiedPolynomial(30),
        "Polynomial": Polynomial(4), "Entmax 1.5": Entmax(beta), "Entmax 2": Entmax(beta, 2.0),
        "LogSumReLU": LogSumReLU(1.0),
    }  # fmt: skip
    kernel = choose().kernel
    ours = {name: AssociativeMemory.store(memories, F, domain="space", centre=False)
            for name, F in rows.items()}  # fmt: skip
    theirs = {"hopfield-layers": lambda: attention(states, memories, beta)}
    for name, energy in energies_of(beta).items():
        theirs[f"autograd {name}"] = lambda energy=energy: by_autograd(states, memories, energy)
    same = {"hopfield-layers": "Exponential", "autograd Exponential": "Exponential",
            "autograd RectifiedPolynomial": "RectifiedPolynomial"}  # fmt: skip
    for name, run in theirs.items():
        apart = (run() - ours[same[name]].landscape.view(states).target).abs().max()
        print(f"{name}: the same states within {float(apart):.1e}")

    def products() -> None:
        overlaps = kernel.overlaps(states, memories)
        kernel.to_images(overlaps, memories)

    timed = {"two products": products, **theirs}
    for name, memory in ours.items():
        timed[name] = lambda memory=memory: memory.landscape.view(states)
    times = {name: [] for name in timed}
    for _ in range(args.rounds):
        for name, run in timed.items():
            times[name].append(seconds(run))
    base = times["two products"]
    print(f"K = {K}, B = {B}, N = {N}, {torch.get_num_threads()} threads, {kernel.product}")
    for name, each in times.items():
        ratio = statistics.median(t / b for t, b in zip(each, base, strict=True))
        print(f"{name:32} {min(each):7.3f} s   {ratio:6.2f} times the two products")


if __name__ == "__main__":
    main()
