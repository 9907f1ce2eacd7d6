"""Labels by the few memories that a nearest-neighbour library finds, compared with all.

    pip install faiss-cpu
    python benchmarks/search.py --out benchmarks/results/search.json

At large n an energy is made by the memories with the largest fields. The largest field of memory mu
over the classes is  xi.v + max_c 2 xi_c - sum_c xi_c,  an inner product with the image once that
number stands behind the memory's pixels, so a library for inner products finds them. The label
is then that of the energy of these few, exactly (`denseam.energy`).

Memories: those of mnist-n30, and MNIST's training images with their labels as votes (K = 60,000),
these also with n = 300, where few memories are left to decide.
Times are for the test images, one call for all, in turns; "agrees" is the share of labels that
are those of all memories. The last line is the whole record as JSON.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import torch
from torch import Tensor

import denseam
from denseam.training.environment import processor


def learned() -> Tensor:
    return denseam.load_pretrained("mnist-n30").memories.detach()


def remembered() -> Tensor:
    """Return each training image as a memory that votes for its class only, (60000, 794)."""
    train = denseam.data.load("mnist").train
    votes = 2.0 * torch.nn.functional.one_hot(train.labels, 10) - 1
    return torch.cat([train.visible(), votes], dim=1)


def with_largest_shift(memories: Tensor) -> Tensor:
    """Return memories (K, N + C) as visible parts and their largest shifts, (K, N + 1)."""
    classes = memories[:, 784:]
    shift = 2 * classes.amax(dim=1) - classes.sum(dim=1)
    return torch.cat([memories[:, :784], shift[:, None]], dim=1).contiguous()


def indices(K: int) -> dict[str, Callable[[], faiss.Index]]:
    dimension, inner = 785, faiss.METRIC_INNER_PRODUCT
    lists = 4 * round(K**0.5)

    def graph() -> faiss.Index:
        index = faiss.IndexHNSWFlat(dimension, 32, inner)
        index.hnsw.efConstruction, index.hnsw.efSearch = 80, 64
        return index

    def cells() -> faiss.Index:
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, lists, inner)
        index.nprobe = max(1, lists // 30)
        return index

    return {"flat": lambda: faiss.IndexFlatIP(dimension), "hnsw": graph, "ivf": cells}


def labels_of(
    index: faiss.Index, memories: Tensor, visible: Tensor, count: int, power: float
) -> Tensor:
    """Return labels by the energy of the ``count`` memories that the index finds for each image."""
    queries = torch.nn.functional.pad(visible, (0, 1), value=1.0)
    overlaps, rows = (torch.from_numpy(x) for x in index.search(queries.numpy(), count))
    classes = memories[:, 784:][rows]  # (B, count, C)
    shift = 2 * classes.amax(dim=2) - classes.sum(dim=2)
    fields = (overlaps - shift)[..., None] + 2 * classes - classes.sum(dim=2, keepdim=True)
    logs = power * fields.double().clamp(min=0).log()
    labels: Tensor = torch.logsumexp(logs, dim=1).argmax(dim=1)
    return labels


def milliseconds(call: Callable[[], object], rounds: int = 3) -> float:
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times)


def measure(
    name: str, memories: Tensor, power: float, visible: Tensor, labels: Tensor
) -> list[dict]:
    model = denseam.DenseAM(784, 10, len(memories), power, 600.0)
    model.memories.data = memories
    exact = model.predict(visible)
    rows = [
        {
            "memories": name, "power": power, "K": len(memories), "search": "all",
            "count": len(memories), "build_s": 0.0, "agrees": 1.0,
            "error": float((exact != labels).double().mean()),
            "milliseconds": milliseconds(lambda: model.predict(visible)),
        }
    ]  # fmt: skip
    vectors = with_largest_shift(memories).numpy()
    for kind, make in indices(len(memories)).items():
        begun = time.perf_counter()
        index = make()
        index.train(vectors)
        index.add(vectors)
        build = time.perf_counter() - begun
        for count in (1, 10, 50):
            labelled = labels_of(index, memories, visible, count, power)
            rows.append(
                {
                    "memories": name, "power": power, "K": len(memories), "search": kind,
                    "count": count, "build_s": build,
                    "agrees": float((labelled == exact).double().mean()),
                    "error": float((labelled != labels).double().mean()),
                    "milliseconds": milliseconds(
                        lambda c=count, i=index: labels_of(i, memories, visible, c, power)
                    ),
                }
            )  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=2000, help="test images")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    faiss.omp_set_num_threads(torch.get_num_threads())
    test = denseam.data.load("mnist").test.subset(slice(args.images))
    rows = []
    images = remembered()
    for name, memories, power in (
        ("mnist-n30", learned(), 30.0),
        ("training images", images, 30.0),
        ("training images", images, 300.0),
    ):
        rows += measure(name, memories, power, test.visible(), test.labels)
    record = {
        "processor": processor(), "threads": torch.get_num_threads(), "images": args.images,
        "faiss": faiss.__version__, "torch": torch.__version__, "rows": rows,
    }  # fmt: skip
    if args.out:
        args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
