"""denseam export: write a model as an ONNX file, for programs without PyTorch.

The graph takes a batch of any size, images (B, 1, H, W) in [0, 1] or visible (B, N) in
[-1, 1], and gives logits (B, C) and label (B,). Only onnxruntime, or another program
that reads ONNX, is needed to run it.

Examples:
    denseam export mnist-n30 --out n30.onnx
    denseam export runs/n2 --out n2.onnx --head tanh
    denseam export mnist-n2 --out n2.onnx --takes visible --json
    denseam export runs/small --out small.onnx --shape 4 5
"""

import argparse
from pathlib import Path

from denseam.cli.common import add_model, print_json, stdout
from denseam.cli.flags import add_flags, from_signature, typed
from denseam.cli.own import say_evaluate
from denseam.errors import InputError
from denseam.interop.onnx import export_onnx, need_onnx
from denseam.pretrained import load_any

_FLAGS = from_signature(export_onnx, "head", "takes")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_model(parser)
    parser.add_argument("--out", type=Path, required=True, help="file to write, .onnx")
    add_flags(parser, _FLAGS, filled=True)
    parser.add_argument(
        "--shape", type=int, nargs=2, metavar=("H", "W"), help="of an image (default: a square)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the file and say what is in it."""
    if args.out.suffix.lower() != ".onnx":
        raise InputError(f"{args.out}: wanted a .onnx file")
    if args.shape is not None and args.takes != "images":
        raise InputError("--shape is for --takes images: visible has none")
    need_onnx()
    model = load_any(args.model, device=args.device)
    shape = None if args.shape is None else tuple(args.shape)
    export_onnx(model, args.out, shape=shape, **typed(args, _FLAGS))
    size = args.out.stat().st_size
    if args.json:
        facts = {"model": args.model, "out": str(args.out)}
        print_json({**facts, "head": args.head, "takes": args.takes, "bytes": size})
        return 0
    stdout.print(f"model in {args.out}, {size / 1e6:.1f} MB: {args.takes} -> logits, label")
    say_evaluate(args.model, model)
    return 0
