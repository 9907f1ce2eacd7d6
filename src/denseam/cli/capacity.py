"""denseam capacity: measure how many random patterns a memory holds.

Errors of bits at powers n, beside NIPS16's laws K_max = alpha_n N^(n-1) and
N^(n-1) / (2 (2n-3)!! ln N); the transition at 0.138 N; the exponential capacity of
patterns on a sphere; basins of attraction and spurious minima. Writes
OUT/capacity.png and OUT/capacity.json. What is finished is kept: after an
interruption the same command goes on.

Examples:
    denseam capacity
    denseam capacity --quick
    denseam capacity --powers 2 3 --bits 100000 --out capacity-exact
    denseam capacity --only transition --json
"""

import argparse
import shlex
from pathlib import Path

from denseam.checks import numbers, whole
from denseam.cli.common import print_json, say_next, stderr, stdout
from denseam.cli.reproduce import StageLines
from denseam.cli.tables import FittedTable
from denseam.errors import InputError
from denseam.figures.canvas import need_matplotlib
from denseam.files import held_folder, write_json
from denseam.study.memory import MemoryPlan, capacity_stages, save_summary
from denseam.study.report.numbers import quantity
from denseam.study.stage import run_stages

_POWERS = (2, 6)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--powers", type=int, nargs="+", metavar="N", help="powers n, 2 to 6; 2 3 4 if left out"
    )
    parser.add_argument(
        "--bits", type=int, help="looked at for each load; 12000 if left out, 5000 with --quick"
    )
    parser.add_argument("--quick", action="store_true", help="fewer bits, states and sizes")
    parser.add_argument(
        "--only", nargs="+", metavar="WHAT",
        help="some of scaling-n2, scaling-n3, ..., transition, exponential, basins",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("capacity"), help="(default: capacity)")


def run(args: argparse.Namespace) -> int:
    """Measure what is not up to date, draw, print."""
    need_matplotlib()
    plan = (MemoryPlan.smaller() if args.quick else MemoryPlan()).of(seed=args.seed)
    if args.powers:
        powers = sorted({whole("powers", n, *_POWERS) for n in numbers("powers", args.powers)
                         for n in [int(n)]})  # fmt: skip
        plan = plan.of(powers=tuple(powers))
    if args.bits is not None:
        plan = plan.of(bits=whole("bits", args.bits, 1000))
    stages = capacity_stages(plan, _command(args))
    names = [stage.name for stage in stages]
    unknown = [name for name in args.only or [] if name not in names]
    if unknown:
        raise InputError(f"--only {', '.join(unknown)}: there are {', '.join(names)}")
    try:
        with held_folder(args.out, "measuring capacities"), StageLines() as lines:
            outcomes = run_stages(stages, args.out, lines, args.only)
            rows = [row for outcome in outcomes.values() for row in outcome.findings.rows]
            results = {"command": _command(args), "plan": plan.to_json(), "note": plan.note(),
                       "rows": [row.__dict__ for row in rows]}  # fmt: skip
            write_json(args.out / "capacity.json", results)
            save_summary(rows, args.out / "capacity.png")
    except KeyboardInterrupt:
        stderr.print(f"\nstopped; the same command goes on from where it was, in {args.out}")
        raise
    if args.json:
        print_json(results)
        return 0
    by_id = {row.id: row for row in rows}
    shown = [(by_id[f"scaling/n{n}/exponent"], by_id[f"scaling/n{n}/alpha"], n)
             for n in plan.powers if f"scaling/n{n}/exponent" in by_id]  # fmt: skip
    if shown:
        stdout.print(
            FittedTable(
                "K_max = alpha_n N^x, at 0.36 % of wrong bits", ("n", "x", "law", "alpha_n"),
                [(str(n), str(quantity(e.value, e.low, e.high, "")), str(n - 1),
                  str(quantity(a.value, a.low, a.high, ""))) for e, a, n in shown],
            )
        )  # fmt: skip
    for name in ("transition/below", "transition/above", "exponential/growth"):
        if name in by_id:
            row = by_id[name]
            stdout.print(f"{row.what}: {quantity(row.value, row.low, row.high, row.unit)}")
    stdout.print(f"figure in {args.out / 'capacity.png'}, numbers in {args.out / 'capacity.json'}")
    say_next("reproduce", "--study", "memory")
    return 0


def _command(args: argparse.Namespace) -> str:
    words = ["denseam", "capacity", *(["--quick"] if args.quick else [])]
    words += ["--powers", *map(str, args.powers)] if args.powers else []
    words += [] if args.bits is None else ["--bits", str(args.bits)]
    words += ["--seed", str(args.seed)] if args.seed else []
    return shlex.join(words)
