"""What memories hold: scaling, the transition at n = 2, patterns on a sphere, basins."""

import math
from functools import partial

from denseam.evaluation import wilson_interval
from denseam.figures import panels
from denseam.figures.panels import Curve, Panel
from denseam.retrieval import capacity as measure
from denseam.study.findings import Figure, Findings, Row, Table
from denseam.study.memory.plan import MemoryPlan
from denseam.study.stage import Place, Stage
from denseam.study.stages.common import proportion


def capacity_stages(plan: MemoryPlan, command: str) -> list[Stage]:
    """Return the stages that measure capacities; ``command`` runs them."""
    return [
        *(
            Stage(
                f"scaling-n{n}", f"capacity at n = {n}", command,
                partial(_scaling, plan, n, command),
                {"bits": plan.bits, "neurons": list(plan.neurons(n)), "seed": plan.seed},
                expected=plan.bits / 2000,
            )
            for n in plan.powers
        ),
        Stage(
            "transition", "the transition at 0.138 N", command,
            partial(_transition, plan, command),
            {"largest": plan.largest, "states": plan.states, "seed": plan.seed}, expected=15,
        ),
        Stage(
            "exponential", "exponential capacity", command, partial(_sphere, plan, command),
            {"dimensions": list(plan.dimensions), "seed": plan.seed}, expected=10,
        ),
        Stage(
            "basins", "basins of attraction, spurious minima", command,
            partial(_basins, plan, command), {"states": plan.states, "seed": plan.seed},
            expected=10,
        ),
    ]  # fmt: skip


def _scaling(plan: MemoryPlan, n: int, command: str, place: Place) -> Findings:
    sizes, rows, lines, capacities = plan.neurons(n), [], [], []
    for i, N in enumerate(sizes):
        # Bits cost K: those of small powers are cheap.
        each = measure.capacity(n, N, bits=plan.bits * (3 if n < 4 else 1), seed=plan.seed)
        capacities.append(each)
        clean, seen, K = measure.error_free_share(n, N, draws=4, seed=plan.seed)
        prefix = f"scaling/n{n}/{N}"
        rows += [
            Row(f"{prefix}/patterns", f"K_max of {N} neurons at n = {n}: {measure.THRESHOLD:.2%} "
                "of bits wrong", each.patterns, command, "", each.low, each.high, plan.bits),
            Row(f"{prefix}/law", f"the same by NIPS16's law, {N} neurons",
                measure.capacity_law(n, N), command),
            proportion(f"{prefix}/clean", f"patterns of {N} neurons at n = {n} without a wrong bit "
                       f"at K = {K}, NIPS16's number without errors", clean, seen, command),
        ]  # fmt: skip
        lines.append((f"N = {N}", (f"{prefix}/patterns", f"{prefix}/law", f"{prefix}/clean")))
        place.progress(i + 1, len(sizes))
    fit = measure.exponent(capacities)
    rows += [
        Row(f"scaling/n{n}/exponent", f"power of N by which K_max grows at n = {n}", fit.value,
            command, "", fit.low, fit.high),
        Row(f"scaling/n{n}/alpha", f"alpha of n = {n}: K_max / N^{n - 1}", fit.factor, command, "",
            min(c.low / c.n_neurons ** (n - 1) for c in capacities),
            max(c.high / c.n_neurons ** (n - 1) for c in capacities)),
        Row(f"scaling/n{n}/clean", f"the least share of patterns without a wrong bit at NIPS16's "
            f"number, n = {n}", min(r.value for r in rows if r.id.endswith("/clean")), command,
            "%"),
    ]  # fmt: skip
    panels.save(_scaling_panels(n, capacities), place.folder / "scaling.png")
    return Findings(
        tuple(rows),
        (Table(
            f"scaling-n{n}", f"Capacity at n = {n}",
            "Random patterns at which 0.36 % of the bits of stored patterns are wrong after one "
            "step, NIPS16's law for it, and the share of patterns without a wrong bit at NIPS16's "
            "number without errors, N^(n-1) / (2 (2n-3)!! ln N).",
            ("neurons", "K_max", "law", "without errors"), tuple(lines),
        ),),
        (Figure(f"scaling-n{n}", "scaling.png", f"Capacity at n = {n}",
                "Left, wrong bits after one step against the load; right, K_max against N. Lines: "
                "NIPS16."),),
    )  # fmt: skip


def _scaling_panels(n: int, capacities: list[measure.Capacity]) -> list[Panel]:
    curves = []
    for each in capacities:
        N, scale = each.n_neurons, each.n_neurons ** (n - 1)
        loads = [K / scale for K, _, _ in each.measured]
        shares = [wrong / bits for _, wrong, bits in each.measured]
        ends = [wilson_interval(wrong, bits) for _, wrong, bits in each.measured]
        low, high = zip(*ends, strict=True)
        curves.append(Curve(f"N = {N}", tuple(loads), tuple(shares), tuple(low), tuple(high)))
    last = capacities[-1]
    law = [measure.bit_error_law(n, last.n_neurons, K) for K, _, _ in last.measured]
    curves.append(Curve("law", curves[-1].x, tuple(law), theory=True))
    sizes = tuple(float(c.n_neurons) for c in capacities)
    clean = tuple(measure.error_free_law(n, c.n_neurons) for c in capacities)
    growth = (
        Curve("measured", sizes, tuple(c.patterns for c in capacities),
              tuple(c.low for c in capacities), tuple(c.high for c in capacities)),
        Curve("law", sizes, tuple(measure.capacity_law(n, c.n_neurons) for c in capacities),
              theory=True),
        Curve("law without errors (lower)", sizes, clean, theory=True),
    )  # fmt: skip
    power = "K / N" if n == 2 else f"K / N^{n - 1}"
    return [
        Panel(f"{power} at n = {n}", "wrong bits", tuple(curves), ylog=True),
        Panel("neurons N", "patterns K", growth, xlog=True, ylog=True),
    ]


def _transition(plan: MemoryPlan, command: str, place: Place) -> Findings:
    loads = (0.05, 0.10, 0.12, 0.14, 0.16, 0.18, 0.20, 0.25)
    sizes = (plan.largest // 4, plan.largest)
    curves, rows, lines = [], [], []
    for i, N in enumerate(sizes):

        def report(done: int, total: int, first: int = i) -> None:
            place.progress(first * total + done, len(sizes) * total)

        points = measure.transition(N, loads, states=plan.states, seed=plan.seed, progress=report)
        ids = [f"transition/{N}/{load:g}" for load in loads]
        rows += [
            Row(id_, f"mean final overlap of {N} neurons at K = {load:g} N", overlap, command,
                count=plan.states)
            for id_, load, (_, overlap, _) in zip(ids, loads, points, strict=True)
        ]  # fmt: skip
        lines.append((f"N = {N}", tuple(ids)))
        reached = tuple(load for load, _, _ in points)
        curves.append(Curve(f"N = {N}", reached, tuple(overlap for _, overlap, _ in points)))
    below, above = (f"transition/{sizes[-1]}/{load:g}" for load in (0.12, 0.2))
    by_id = {row.id: row.value for row in rows}
    rows += [
        Row("transition/below", "mean final overlap at 0.12 N", by_id[below], command),
        Row("transition/above", "mean final overlap at 0.2 N", by_id[above], command),
    ]
    mark = ((0.138, "0.138 N"),)
    panels.save(
        [Panel("K / N at n = 2", "mean final overlap", tuple(curves), marks=mark)],
        place.folder / "transition.png",
    )
    columns = ("neurons", *(f"{load:g} N" for load in loads))
    caption = "Mean overlap with the stored pattern at which the dynamics began, after they ended."
    return Findings(
        tuple(rows), (Table("transition", "Transition", caption, columns, tuple(lines)),),
        (Figure("transition", "transition.png", "The transition of the Hopfield network",
                "Overlaps after the dynamics, from stored patterns, n = 2."),),
    )  # fmt: skip


def _sphere(plan: MemoryPlan, command: str, place: Place) -> Findings:
    held = []
    for i, d in enumerate(plan.dimensions):
        held.append(measure.sphere_capacity(d, seed=plan.seed))
        place.progress(i + 1, len(plan.dimensions))
    rows = [
        Row(f"exponential/{d}", f"patterns on a sphere of {d} dimensions of which half are held",
            K, command)
        for d, K in zip(plan.dimensions, held, strict=True)
    ]  # fmt: skip
    slope, side = _line(plan.dimensions, [math.log(K) for K in held])
    rows.append(Row("exponential/growth", "growth of log K by dimension, beta = 1", slope, command,
                    "", slope - side, slope + side))  # fmt: skip
    x = tuple(map(float, plan.dimensions))
    law = measure.sphere_law()
    growth = tuple(held[0] * math.exp(law * (d - x[0])) for d in x)
    bound = tuple(1.37 ** ((d - 1) / 4) for d in x)
    curves = (
        Curve("measured", x, tuple(held)),
        Curve(f"law, growth {law:.3f}", x, growth, theory=True),
        Curve("bound 1.37^((d-1)/4)", x, bound),
    )
    panels.save([Panel("dimension d", "patterns K", curves, ylog=True)],
                place.folder / "exponential.png")  # fmt: skip
    return Findings(
        tuple(rows), (),
        (Figure("exponential", "exponential.png", "Exponential capacity",
                "Patterns of length d^(1/2) that one update at beta = 1 leaves in place, the "
                "growth that random patterns allow, and the bound of Theorem 3 of arXiv "
                "2008.02217 at its second example."),),
    )  # fmt: skip


def _line(x: tuple[int, ...], y: list[float]) -> tuple[float, float]:
    """Return the slope of a line through points, and half of its 95 % interval."""
    n, mx, my = len(x), sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mx) ** 2 for a in x)
    slope = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / spread
    rest = sum((b - my - slope * (a - mx)) ** 2 for a, b in zip(x, y, strict=True))
    return slope, 1.96 * math.sqrt(rest / max(1, n - 2) / spread)


_PLACES = {2: (200, 12), 3: (64, 60), 4: (32, 60)}  # N, K of each power


def _basins(plan: MemoryPlan, command: str, place: Place) -> Findings:
    shares = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)
    curves, rows, lines = [], [], []
    for i, (n, (N, K)) in enumerate(_PLACES.items()):
        points = measure.basin(n, N, K, shares, states=plan.states, seed=plan.seed)
        name = f"n = {n}, N = {N}, K = {K}"
        rows += [
            proportion(f"basins/n{n}/{share:g}", f"patterns that come back from {share:.0%} turned "
                       f"bits, {name}", back, count, command)
            for share, back, count in points
        ]  # fmt: skip
        curves.append(Curve(name, shares, tuple(back / count for _, back, count in points)))
        ends = measure.spurious(n, N, K, states=2 * plan.states, seed=plan.seed)
        rows += [
            proportion(f"spurious/n{n}/{where}", f"random states that end at {where}, {name}",
                       count, 2 * plan.states, command)
            for where, count in ends.items()
        ]  # fmt: skip
        lines.append((name, tuple(f"spurious/n{n}/{where}" for where in ends)))
        place.progress(i + 1, len(_PLACES))
    panels.save([Panel("share of bits turned", "share that comes back", tuple(curves))],
                place.folder / "basins.png")  # fmt: skip
    table = Table(
        "spurious", "Where random states end",
        "At a pattern, at the negative of one (even n), or elsewhere: at a spurious minimum.",
        ("memory", "pattern", "negative", "elsewhere"), tuple(lines),
    )  # fmt: skip
    figure = Figure(
        "basins", "basins.png", "Basins of attraction",
        "Stored patterns with a share of bits turned, and how many come back.",
    )  # fmt: skip
    return Findings(tuple(rows), (table,), (figure,))
