"""Compile every kernel for a card that need not be here, and say what the assembler says.

    python -m tests.kernels.ahead_of_time [90]

for compute capability 9.0: registers a thread, bytes spilled, shared memory, size, whether tensor
cores are used, as JSON. Sizes and dtypes are those of a training step at n = 30, K = 2000, C = 10.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from denseam.energies import Exponential, RectifiedPolynomial
from denseam.kernels.triton import kernel, products
from denseam.kernels.triton.device import batch, head, loops, matmul, rule

INTEGERS = {
    "B", "C", "K", "L", "M", "N", "tiles", "stride", "components", "width",
    "a_row", "a_column", "b_row", "b_column",
}  # fmt: skip
POINTERS = {
    "labels": "*i64", "batch_labels": "*i64", "predicted": "*i64", "order": "*i64",
    "number": "*i64", "temperature": "*fp64", "activity": "*fp64", "objective": "*fp64",
    "rule": "*fp64", "pixels": "*u8",
}  # fmt: skip


def compiled(function: Any, capability: int, *, real: str = "fp32", **constants: Any) -> Any:
    """The kernel, and the assembler's words about it."""
    options = {"num_warps": constants.pop("num_warps", 4)}
    names = function.arg_names
    signature = {
        name: "constexpr" if name in constants
        else "i32" if name in INTEGERS
        else POINTERS.get(name, f"*{real}")
        for name in names
    }  # fmt: skip
    aligned = {
        (i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if signature[n][0] == "*"
    }
    target = GPUTarget("cuda", capability, 32)
    binary = triton.compile(
        ASTSource(function, signature, constants, aligned), target=target, options=options
    )
    return facts(binary, capability)


def facts(binary: Any, capability: int) -> dict[str, Any]:
    text = binary.asm["ptx"]
    assembler = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas"
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(text)
        file.flush()
        architecture = f"sm_{capability}{'a' if capability >= 90 else ''}"
        said = subprocess.run(
            [assembler, "-v", f"--gpu-name={architecture}", file.name, "-o", "/dev/null"],
            capture_output=True, text=True, check=True,
        ).stderr  # fmt: skip
    return {
        "registers": int(re.search(r"Used (\d+) registers", said).group(1)),
        "spilled": int(re.search(r"(\d+) bytes spill stores", said).group(1)),
        "shared": binary.metadata.shared,
        "cubin": len(binary.asm["cubin"]),
        "tensor_cores": bool(re.search(r"wgmma\.mma_async|mma\.sync", text)),
    }


def all_kernels(capability: int) -> dict[str, dict[str, Any]]:
    whole, fractional = (
        kernel._body(RectifiedPolynomial(30)),
        kernel._body(RectifiedPolynomial(7.25)),
    )
    less = kernel._body(RectifiedPolynomial(30), slope=True)
    exponential = Exponential(0.05)
    sums = {"BLOCK_K": 32, "BLOCK_B": 128, "BLOCK_C": 16}
    weights = {"BLOCK_K": 16, "BLOCK_B": 128, "BLOCK_C": 16, "ONE_SCALE": True}
    joined = {"EVERY_CLASS": False, "BLOCK_T": 64, "BLOCK_B": 32}
    again = {"TOO_SMALL": 1e-25, "BLOCK_K": 32, "BLOCK_B": 64, "BLOCK_C": 16}
    objective = {"LOSS_POWER": 30.0, "LIMIT": 88.0, "BLOCK_B": 16, "BLOCK_C": 16}
    binary = {
        "sums": compiled(loops.partial_sums, capability, **whole, **sums),
        "sums, n = 7.25": compiled(loops.partial_sums, capability, **fractional, **sums),
        "sums, float64": compiled(loops.partial_sums, capability, real="fp64", **whole, **sums),
        "sums joined": compiled(loops.joined_sums, capability, **whole, **joined),
        "sums again": compiled(loops.rescaled_sums, capability, **whole, **again),
        "weights": compiled(loops.weighted_powers, capability, **less, **weights, SHARES=True),
        "weights to images": compiled(
            loops.weighted_powers, capability, **less, **weights, SHARES=False
        ),
        "class gradients": compiled(loops.class_gradients, capability, BLOCK_K=32, ROWS=16),
        "sums, exponential": compiled(
            loops.partial_sums, capability, **kernel._body(exponential), **sums
        ),
        "weights, exponential": compiled(
            loops.weighted_powers,
            capability,
            **kernel._body(exponential, slope=True),
            **weights,
            SHARES=True,
        ),
        "head": compiled(
            head.head, capability, **kernel._head(RectifiedPolynomial(30)), **objective
        ),
        "head, exponential": compiled(
            head.head, capability, **kernel._head(exponential), **objective
        ),
        "update": compiled(rule.max_norm_step, capability, BLOCK=1024),
        "batch": compiled(batch.drawn_batch, capability, BYTES=True, BLOCK=1024),
    }
    for name, sizes in products.SIZES.items():
        binary[f"product {name}"] = compiled(
            matmul.tiled_product, capability, **sizes, PRECISION=products._PRECISION[name],
            COARSE=name == "bfloat16", EMULATED=False, a_column=1, b_column=1,
        )  # fmt: skip
    return binary


if __name__ == "__main__":
    capability_ = int(sys.argv[1]) if len(sys.argv) > 1 else 90
    sys.stdout.write(json.dumps(all_kernels(capability_), indent=2) + "\n")
