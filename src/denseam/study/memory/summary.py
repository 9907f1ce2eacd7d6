"""One picture of the capacities that a run has measured, drawn from its rows."""

import os
from collections.abc import Iterable

from denseam.figures import panels
from denseam.figures.panels import Curve, Panel
from denseam.retrieval import capacity as measure
from denseam.study.findings import Row


def save_summary(rows: Iterable[Row], path: str | os.PathLike[str]) -> None:
    """Draw what there is of growth, transition, sphere and basins; errors as in ``canvas.save``."""
    by_id = {row.id: row for row in rows}
    drawn = [_growth(by_id), _transition(by_id), _sphere(by_id), _basins(by_id)]
    panels.save([panel for panel in drawn if panel.curves], path)


def _points(rows: dict[str, Row], prefix: str, suffix: str = "") -> list[tuple[float, Row]]:
    """Return rows "prefix/NUMBER" or "prefix/NUMBER/suffix" by their number."""
    points = []
    for name, row in rows.items():
        middle = name.removeprefix(f"{prefix}/").removesuffix(suffix)
        if name.startswith(f"{prefix}/") and name.endswith(suffix) and _is_number(middle):
            points.append((float(middle), row))
    return sorted(points, key=lambda point: point[0])


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def _curve(name: str, points: list[tuple[float, Row]]) -> Curve:
    ends = [(row.value if row.low is None else row.low, row.value if row.high is None else row.high)
            for _, row in points]  # fmt: skip
    return Curve(
        name, tuple(x for x, _ in points), tuple(row.value for _, row in points),
        tuple(low for low, _ in ends), tuple(high for _, high in ends),
    )  # fmt: skip


def _powers(rows: dict[str, Row], kind: str) -> list[int]:
    return sorted({int(name.split("/")[1][1:]) for name in rows if name.startswith(f"{kind}/n")})


def _growth(rows: dict[str, Row]) -> Panel:
    curves = []
    for n in _powers(rows, "scaling"):
        points = _points(rows, f"scaling/n{n}", "/patterns")
        exponent = rows[f"scaling/n{n}/exponent"].value
        curves.append(_curve(f"n = {n}: N^{exponent:.2f}", points))
        law = tuple(measure.capacity_law(n, int(N)) for N, _ in points)
        curves.append(Curve(f"law, N^{n - 1}", curves[-1].x, law, theory=True))
    return Panel("neurons N", "patterns K, 0.36 % of bits wrong", tuple(curves), True, True)


def _transition(rows: dict[str, Row]) -> Panel:
    sizes = sorted({int(name.split("/")[1]) for name in rows
                    if name.startswith("transition/") and name.count("/") == 2})  # fmt: skip
    curves = tuple(_curve(f"N = {N}", _points(rows, f"transition/{N}")) for N in sizes)
    return Panel("K / N at n = 2", "mean final overlap", curves, marks=((0.138, "0.138 N"),))


def _sphere(rows: dict[str, Row]) -> Panel:
    points = _points(rows, "exponential")
    curves = (_curve("exponential, on a sphere", points),) if points else ()
    return Panel("dimension d", "patterns K, half of them held", curves, ylog=True)


def _basins(rows: dict[str, Row]) -> Panel:
    curves = tuple(
        _curve(f"n = {n}", _points(rows, f"basins/n{n}")) for n in _powers(rows, "basins")
    )
    return Panel("share of bits turned", "share that comes back", curves)
