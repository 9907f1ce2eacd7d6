"""What comes back: XOR, prototypes, metastable states, exact retrieval, covered digits, editing."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from denseam.analysis import memory_statistics
from denseam.energies import EnergyFunction, Entmax, Exponential, LogSumReLU, Polynomial
from denseam.figures import panels
from denseam.figures import retrieval as retrieval_figure
from denseam.figures.panels import Curve, Panel
from denseam.retrieval import AssociativeMemory
from denseam.study.findings import Figure, Findings, Line, Row, Table
from denseam.study.memory.plan import MemoryPlan
from denseam.study.stage import Place, Stage
from denseam.study.stages.common import mean, proportion
from denseam.study.study import Study


@dataclass(frozen=True)
class _Work:
    """What all stages here need."""

    study: Study
    plan: MemoryPlan
    command: str

    @property
    def digits(self) -> Tensor:
        """The stored images, (K, N)."""
        train = self.study.images.train
        count = min(self.plan.digits, len(train))
        return train.subset(slice(0, count)).inputs(torch.float32)

    @property
    def probes(self) -> Tensor:
        """Positions of some of them, evenly spread."""
        count = len(self.digits)
        some = torch.linspace(0, count - 1, min(self.plan.probes, count), dtype=torch.float64)
        return some.long()


def recall_stages(study: Study, plan: MemoryPlan) -> list[Stage]:
    """Return the stages that retrieve."""
    digits = {"digits": plan.digits, "probes": plan.probes, "seed": plan.seed}
    images = {"train": study.train_digest, "names": study.names}
    models = {subject.name: subject.digest for subject in study.subjects}

    def stage(
        name: str, title: str, run: Callable[[_Work, Place], Findings], expected: float, **more: Any
    ) -> Stage:
        work = _Work(study, plan, study.alone(name))
        return Stage(name, title, work.command, partial(run, work), expected=expected, **more)

    return [
        stage("xor", "XOR as the completion of a pattern", _xor, 1),
        stage("prototypes", "features and prototypes", _prototypes, 10,
              settings={"images": 10 * plan.probes},
              inputs={**models, "test": study.test_digest}),
        stage("metastable", "metastable states", _metastable, 15, settings=digits, inputs=images),
        stage("log-sum-relu", "log-sum-ReLU", _balls, 5, settings={"seed": plan.seed}),
        stage("entmax", "exact retrieval by entmax", _entmax, 10, settings=digits, inputs=images),
        stage("halves", "half-covered digits", _halves, 30, settings=digits, inputs=images),
        stage("editing", "memories added and removed", _editing, 10, settings=digits,
              inputs=images),
    ]  # fmt: skip


def _xor(work: _Work, place: Place) -> Findings:
    """NIPS16, section 3: z is the free neuron of four patterns (x, y, z)."""
    table = torch.tensor([[-1.0, -1, -1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    rows, lines = [], []
    for n in (1, 2, 3):
        memory = AssociativeMemory.store(table, Polynomial(n), domain="binary", centre=False)
        gaps = memory.flip_gaps(table, [2])[:, 0]
        right = int((gaps * table[:, 2] > 0).sum())
        rows += [
            proportion(f"xor/n{n}/right", f"lines of the table that n = {n} completes", right, 4,
                       work.command),
            Row(f"xor/n{n}/gap", f"least energy gap of z at n = {n}, towards the right side",
                float((gaps * table[:, 2]).min()), work.command),
        ]  # fmt: skip
        lines.append((f"n = {n}", (f"xor/n{n}/right", f"xor/n{n}/gap")))
    place.progress(1, 1)
    caption = "Lines of XOR that the free neuron completes, and its least energy gap."
    columns = ("power", "right", "gap")
    return Findings(tuple(rows), (Table("xor", "XOR", caption, columns, tuple(lines)),))


def _prototypes(work: _Work, place: Place) -> Findings:
    """NIPS16, Fig. 3: does a single memory decide?"""
    test = work.study.images.test.subset(slice(0, 10 * work.plan.probes))
    few = work.study.images.train.subset(slice(0, 100))  # for likeness, which is not looked at
    rows, lines = [], []
    for i, subject in enumerate(work.study.subjects):
        counts = memory_statistics(subject.model, test, few)
        id_ = f"prototypes/{subject.name}"
        rows.append(proportion(
            id_, f"test images on which a single memory of {subject.label} contributes strongly, "
            "no other one 0.9 of it", counts.one_contributor, counts.n_images, work.command,
        ))  # fmt: skip
        lines.append((subject.label, (id_,)))
        place.progress(i + 1, len(work.study.subjects))
    caption = (
        "Many memories share an image at small n, features; one decides at large n, a prototype."
    )
    columns = ("model", "one memory decides")
    table = Table("prototypes", "Features and prototypes", caption, columns, tuple(lines))
    return Findings(tuple(rows), (table,))


def _metastable(work: _Work, place: Place) -> Findings:
    patterns = work.digits
    probes = patterns[work.probes[:100]]
    betas = (0.001, 0.01, 0.03, 0.04, 0.05, 0.06, 0.1, 0.3, 1.0)
    rows, medians = [], []
    for i, beta in enumerate(betas):
        memory = AssociativeMemory.store(patterns, Exponential(beta), domain="space")
        ends = memory.retrieve(probes, max_steps=200).states
        weights = torch.softmax(beta * (ends @ patterns.T).double(), dim=1)
        most = weights.sort(dim=1, descending=True).values.cumsum(dim=1)
        sizes = (most < 0.9).sum(dim=1) + 1
        low, middle, high = torch.quantile(sizes.double(), torch.tensor([0.25, 0.5, 0.75]).double())
        medians.append(float(middle))
        rows.append(Row(
            f"metastable/{beta:g}", f"memories with 90 % of the weight at the fixed point, beta = "
            f"{beta:g}; median with quartiles", float(middle), work.command, "", float(low),
            float(high), len(probes),
        ))  # fmt: skip
        place.progress(i + 1, len(betas))
    curve = Curve("median", betas, tuple(medians), tuple(r.low or 0 for r in rows),
                  tuple(r.high or 0 for r in rows))  # fmt: skip
    panels.save([Panel("beta", "memories that share the fixed point", (curve,), True, True)],
                place.folder / "metastable.png")  # fmt: skip
    figure = Figure("metastable", "metastable.png", "Metastable states",
                    "Memories that share a fixed point, from all to one.")  # fmt: skip
    return Findings(tuple(rows), (), (figure,))


def _balls(work: _Work, place: Place) -> Findings:
    generator = torch.Generator().manual_seed(work.plan.seed)
    grid = torch.cartesian_prod(torch.arange(4), torch.arange(4)).double()
    patterns = (grid + 0.3 * torch.rand(16, 2, generator=generator, dtype=torch.float64)) / 4
    apart = torch.cdist(patterns, patterns).fill_diagonal_(torch.inf)
    alone = 2 / float(apart.min()) ** 2  # the ball of each holds no other memory from here on
    middles = (patterns[:, None] + patterns[None]).flatten(0, 1) / 2
    random = torch.rand(2000, 2, generator=generator, dtype=torch.float64)
    starts = torch.cat([random, middles])
    factors = (0.1, 0.2, 0.4, 0.7, 1.02, 1.5, 2.5, 5.0)
    exact, emergent, rows = [], [], []
    for i, factor in enumerate(factors):
        memory = AssociativeMemory.store(patterns, LogSumReLU(factor * alone), domain="space")
        kept = memory.retrieve(patterns).states
        exact.append(int((kept == patterns).all(dim=1).sum()))
        result = memory.retrieve(torch.cat([starts, patterns]), max_steps=300)
        settled = torch.tensor([reason == "fixed point" for reason in result.stopped])
        minima = torch.unique((result.states[settled] * 1e6).round(), dim=0) / 1e6
        stored = torch.cdist(minima, patterns).amin(dim=1) < 2e-6
        emergent.append(int((~stored).sum()))
        rows += [
            proportion(f"log-sum-relu/{factor:g}/exact", "stored patterns that stay to the bit, "
                       f"beta = {factor:g} of where each ball holds one", exact[-1], 16,
                       work.command),
            Row(f"log-sum-relu/{factor:g}/emergent", "minima that are no stored pattern, at the "
                "same beta", emergent[-1], work.command),
        ]  # fmt: skip
        place.progress(i + 1, len(factors))
    curves = (Curve("stored patterns that are minima", factors, tuple(map(float, exact))),
              Curve("emergent minima", factors, tuple(map(float, emergent))))  # fmt: skip
    panels.save([Panel("beta, relative to balls of one memory", "minima", curves, xlog=True)],
                place.folder / "balls.png")  # fmt: skip
    figure = Figure("log-sum-relu", "balls.png", "Minima of log-sum-ReLU",
                    "Sixteen patterns in a square: stored and emergent minima.")  # fmt: skip
    return Findings(tuple(rows), (), (figure,))


def _entmax(work: _Work, place: Place) -> Findings:
    patterns = work.digits.double()
    some = work.probes
    betas = (0.03, 0.1, 0.3, 1.0)
    rows, curves, lines = [], [], []
    kinds: dict[str, Callable[[float], EnergyFunction | Entmax]] = {
        "softmax": Exponential, "entmax-1.5": partial(Entmax, alpha=1.5),
        "sparsemax": partial(Entmax, alpha=2.0),
    }  # fmt: skip
    for i, (name, kind) in enumerate(kinds.items()):
        shares = []
        for beta in betas:
            memory = AssociativeMemory.store(patterns, kind(beta), domain="space")
            same = int((memory.step(patterns[some]) == patterns[some]).all(dim=1).sum())
            shares.append(same / len(some))
            rows.append(proportion(f"entmax/{name}/{beta:g}", f"digits that one update of {name} "
                                   f"returns to the bit, beta = {beta:g}", same, len(some),
                                   work.command))  # fmt: skip
        lines.append((name, tuple(f"entmax/{name}/{beta:g}" for beta in betas)))
        curves.append(Curve(name, betas, tuple(shares)))
        place.progress(i + 1, len(kinds))
    panels.save([Panel("beta", "returned to the bit", tuple(curves), xlog=True)],
                place.folder / "entmax.png")  # fmt: skip
    figure = Figure("entmax", "entmax.png", "Exact retrieval",
                    "Stored digits that one update returns to the bit, in float64.")  # fmt: skip
    table = Table("entmax", "Exact retrieval", "Digits that one update returns to the bit.",
                  ("update", *(f"beta = {beta:g}" for beta in betas)), tuple(lines))  # fmt: skip
    return Findings(tuple(rows), (table,), (figure,))


def _halves(work: _Work, place: Place) -> Findings:
    patterns = work.digits
    shape = work.study.images.train.input_shape
    side = (shape[0], shape[1]) if len(shape) == 2 else None
    v = patterns[work.probes]
    rows, lines, pictures = [], list[Line](), None
    energies: dict[str, str | int] = {"n30": 30, "exponential": "exponential"}
    for i, (name, energy) in enumerate(energies.items()):
        memory = AssociativeMemory.store(patterns, energy, domain="space", shape=side)
        ids = []
        for how in ("left", "right", "top", "bottom"):
            result = memory.retrieve(*memory.cover(v, how, seed=work.plan.seed), keep=True)
            hidden = ~result.known
            right = ((result.states > 0) == (v > 0)).double()
            share = (right * hidden).sum(dim=1) / hidden.sum(dim=1)
            ids.append(f"halves/{name}/{how}")
            rows += mean(ids[-1], f"covered pixels of the right class, {name}, {how} covered",
                         share, work.command, "%")  # fmt: skip
            pictures = pictures or (result if how == "left" else None)
        lines.append((name, tuple(ids)))
        whole = [row.value for row in rows if row.id.startswith(f"halves/{name}/")]
        rows.append(Row(f"halves/{name}/all", f"pixels of the right class, {name}: the worst of "
                        "four halves", 1 - (1 - min(whole)) / 2, work.command, "%"))  # fmt: skip
        place.progress(i + 1, len(energies))
    figures: tuple[Figure, ...] = ()
    if pictures is not None:
        retrieval_figure.draw(pictures.record(6), place.folder / "halves.png")
        figures = (Figure("halves", "halves.png", "Half-covered digits",
                          "n = 30: start, steps, end, and the nearest stored digit."),)  # fmt: skip
    table = Table("halves", "Half-covered digits", f"Covered pixels of the right class, "
                  f"{len(patterns)} stored digits.", ("energy", "left", "right", "top", "bottom"),
                  tuple(lines))  # fmt: skip
    return Findings(tuple(rows), (table,), figures)


def _editing(work: _Work, place: Place) -> Findings:
    patterns = work.digits
    probes = work.probes
    gone = probes[:: max(1, math.ceil(len(probes) / 10))]
    memory = AssociativeMemory.store(patterns, "exponential", domain="space")
    change = memory.remove(gone, probes=patterns[probes])
    back = memory.add(patterns[gone], probes=patterns[probes])
    if change is None or back is None:
        raise RuntimeError("a change with probes has a report")
    place.progress(1, 1)
    mine = torch.isin(probes, gone)
    others = change.depends & ~mine
    rows = [
        proportion("editing/own", "probes of removed digits whose decision changes",
                   int((change.depends & mine).sum()), int(mine.sum()), work.command),
        proportion("editing/others", "probes of other digits whose decision changes",
                   int(others.sum()), int((~mine).sum()), work.command),
        proportion("editing/back", "probes of the digits that come back once they are stored again",
                   int((back.depends & mine).sum()), int(mine.sum()), work.command),
    ]  # fmt: skip
    return Findings(tuple(rows))
