"""One training step on several processes of this machine: times, bytes, memory.

    for p in 1 2 4; do torchrun --nproc-per-node $p benchmarks/scaling.py --out scaling.jsonl; done
    torchrun --nproc-per-node 4 benchmarks/scaling.py --sizes 2000000 --memory-ranks 4
    python benchmarks/scaling.py --table scaling.jsonl       # as in docs/scaling.md
    python benchmarks/scaling.py --predict                   # of H100s, nothing is measured

Random images and memories, n = 30, B = 1000, N = 784, C = 10: the time of a step does not depend
on them. Every process runs on as many threads as it gets (torchrun gives it one, unless
OMP_NUM_THREADS says otherwise). A line of JSON for every size K and every mesh that so many
processes can form.
"""

import argparse
import json
import math
import os
import resource
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist

from denseam.energies import RectifiedPolynomial
from denseam.kernels import Paper, Rule, choose
from denseam.kernels import step as training_step
from denseam.mesh import Mesh, start
from denseam.training.environment import processor

B, N, C, POWER, TEMPERATURE, LOSS_POWER = 1000, 784, 10, 30.0, 600.0, 30.0
RULE = Rule(momentum=0.9, gradient_scale=1.0, learning_rate=0.01, floor=1e-30)


class Step:
    """What the training loop does with a batch, on this process's images and memories."""

    def __init__(self, mesh: Mesh, K: int) -> None:
        images, rows = mesh.data.part(B), mesh.memory.part(K)
        generator = torch.Generator().manual_seed(mesh.rank)
        count = images.stop - images.start
        self.neurons = torch.zeros(count, N + C)
        self.neurons[:, :N].uniform_(-1, 1, generator=generator)
        self.labels = torch.arange(count) % C
        self.memories = torch.empty(rows.stop - rows.start, N + C)
        self.memories.uniform_(-0.5, 0.1, generator=generator)
        self.velocity = torch.zeros_like(self.memories)
        self.kernel, self.mesh = choose().kernel, mesh

    def __call__(self) -> None:
        training_step(
            self.kernel, RectifiedPolynomial(POWER), self.neurons, self.labels, self.memories,
            self.velocity, RULE, temperature=TEMPERATURE, objective=Paper(LOSS_POWER), n_classes=C,
            mesh=self.mesh,
        )  # fmt: skip


def measure(mesh: Mesh, K: int, rounds: int) -> dict[str, object]:
    """Median time of a step, and what a process sends and holds."""
    step = Step(mesh, K)
    step()
    sent = mesh.data.sent, mesh.memory.sent
    seconds = []
    for _ in range(rounds):
        if mesh.size > 1:
            dist.barrier()
        begun = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "K": K,
        "data_ranks": mesh.data.size,
        "memory_ranks": mesh.memory.size,
        "threads": torch.get_num_threads(),
        "milliseconds": 1000 * statistics.median(seconds),
        "bytes_data": (mesh.data.sent - sent[0]) // rounds,
        "bytes_memory": (mesh.memory.sent - sent[1]) // rounds,
        "peak_bytes": peak,
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
    }


def meshes(given: list[int] | None) -> Iterator[int]:
    size = int(os.environ.get("WORLD_SIZE", "1"))
    yield from given or (m for m in (1, 2, 4, 8) if size % m == 0 and m <= size)


def table(path: Path) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    alone = {r["K"]: r["milliseconds"] for r in rows if r["data_ranks"] * r["memory_ranks"] == 1}
    print("| K | data x memory ranks | step, ms | to one process | sent: sums, gradient |")
    print("|---|---|---|---|---|")
    for row in sorted(rows, key=lambda r: (r["K"], r["data_ranks"] * r["memory_ranks"])):
        one = alone.get(row["K"])
        ratio = f"{one / row['milliseconds']:.2f}" if one else ""
        print(
            f"| {row['K']:,} | {row['data_ranks']} x {row['memory_ranks']} "
            f"| {row['milliseconds']:.0f} | {ratio} "
            f"| {row['bytes_memory'] / 1e3:.0f} kB, {row['bytes_data'] / 1e6:.1f} MB |"
        )


# ---- a prediction ------------------------------------------------------------------------------

FLOPS = 67e12 * 0.6  # float32 without tensor cores, data sheet; the share that products reach
POWER_FLOPS = 8  # of a 30th power by squaring, and its sum
HBM = 3.35e12 * 0.8  # bytes per second, data sheet; the share that copies reach
LAUNCHES = 20e-6  # seconds, of the kernels of a captured step
NODE = 8  # GPUs that see each other through NVLink
LINKS = {True: (450e9, 5e-6), False: (50e9, 10e-6)}  # within a node or not: bytes/s, seconds a hop


def reduction(size: float, ranks: int, *, inside: bool) -> float:
    """Seconds of an all-reduce: 2 (p - 1) / p of the bytes, and 2 log2 p hops."""
    if ranks == 1:
        return 0.0
    bandwidth, hop = LINKS[inside]
    return 2 * (ranks - 1) / ranks * size / bandwidth + 2 * math.log2(ranks) * hop


def predicted(K: int, D: int, M: int) -> tuple[float, float, float]:
    """Seconds of computing, of reducing sums and of reducing gradients, in one step."""
    images, rows = B / D, K / M
    products = 4 * images * rows * N / FLOPS
    powers = 2 * (C + 1) * POWER_FLOPS * images * rows / FLOPS
    update = 5 * 4 * rows * (N + C) / HBM
    # Ranks of one memory axis are neighbours.
    sums = reduction((4 + 8 * (C + 1)) * images, M, inside=M <= NODE)
    gradient = reduction(4 * rows * (N + C), D, inside=D * M <= NODE)
    return products + powers + update + LAUNCHES, sums, gradient


def predictions() -> None:
    print(
        "| K | GPUs, data x memory | computing, us | sums, us | gradient, us | images/s | share |"
    )
    print("|---|---|---|---|---|---|---|")
    for K in (2000, 100_000, 1_000_000, 10_000_000):
        alone = sum(predicted(K, 1, 1))
        for D, M in ((1, 1), (8, 1), (1, 8), (1, 1024), (8, 128), (128, 8)):
            parts = predicted(K, D, M)
            step = sum(parts)
            us = " | ".join(f"{1e6 * part:,.0f}" for part in parts)
            share = alone / (D * M * step)
            print(f"| {K:,} | {D} x {M} | {us} | {B / step:,.0f} | {share:.0%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 20_000, 100_000])
    parser.add_argument("--memory-ranks", type=int, nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="file to add the lines to")
    parser.add_argument(
        "--table", type=Path, help="print the table of such a file, measure nothing"
    )
    parser.add_argument("--predict", action="store_true", help="times of GPUs, by formulas")
    args = parser.parse_args()
    if args.predict:
        predictions()
        return
    if args.table:
        table(args.table)
        return
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
    for K in args.sizes:
        for memory_ranks in meshes(args.memory_ranks):
            with start(memory_ranks) as mesh:
                line = json.dumps(measure(mesh, K, args.rounds))
                if mesh.first:
                    print(line, flush=True)
                    if args.out:
                        with args.out.open("a") as file:
                            file.write(line + "\n")
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
