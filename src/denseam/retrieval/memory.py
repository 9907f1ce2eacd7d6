"""AssociativeMemory: patterns that come back from a part of themselves."""

from typing import Any, Self

import torch
from torch import Tensor

from denseam.checks import choice, image_shape, number, seed_of, whole
from denseam.data.arrays import square
from denseam.energies import EnergyFunction, Entmax, Homogeneous, LogSumReLU
from denseam.errors import InputError
from denseam.mesh import Mesh
from denseam.model import DenseAM
from denseam.retrieval.covers import Covered, cover
from denseam.retrieval.dynamics import DYNAMICS, Dynamics, run
from denseam.retrieval.editing import Change, chosen_rows, edited_rows, rows_to_add
from denseam.retrieval.flips import Columns
from denseam.retrieval.gathering import nearest_of
from denseam.retrieval.landscape import Domain, EnergyParts, landscape_of
from denseam.retrieval.patterns import Facts, Patterns, facts_of
from denseam.retrieval.result import Retrieval
from denseam.retrieval.states import States
from denseam.retrieval.storing import domain_of, energy_of, patterns_of, share_background

__all__ = ["AssociativeMemory"]

_CHUNK = 256  # states at once
_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


class AssociativeMemory:
    """K stored patterns of D components, an energy of states, and dynamics that lower it.

    Made by ``store``, from patterns, or by ``of_model``, from a trained ``DenseAM``. Domains:

        "binary"  states in {-1, +1}^D; E = -sum_mu F(xi^mu . v), NIPS16
        "box"     states in [-1, 1]^D; the same energy
        "space"   any states; E = -Psi(xi . v) + |v|^2 / 2 + constant, modern Hopfield networks

    ``denseam.retrieval.landscape`` has the formulas for each energy function.

    Attributes:
        energy_function: F.
        domain: of the states.
        n_classes: C, class neurons at the end of each pattern; 0 for patterns without.
        shape: (H, W) of pictures, or None.
        centre: (D,) float64 where overlaps are those of patterns and states minus a common
            background, else None.

    >>> patterns = torch.tensor([[1.0, 1, 1, 1, -1, -1], [-1, 1, -1, 1, -1, 1]])
    >>> memory = AssociativeMemory.store(patterns, energy=3)
    >>> memory.retrieve(torch.tensor([1.0, 1, 1, 1, -1, 1])).states
    tensor([[ 1.,  1.,  1.,  1., -1., -1.]])
    """

    def __init__(
        self,
        patterns: Patterns,
        energy: EnergyFunction | Entmax,
        domain: Domain,
        facts: Facts,
        *,
        n_classes: int = 0,
        shape: tuple[int, int] | None = None,
        centre: Tensor | None = None,
    ) -> None:
        self._patterns, self._facts = patterns, facts
        self.energy_function, self.domain = energy, domain
        self.n_classes, self.shape, self.centre = n_classes, shape, centre
        self.landscape = landscape_of(patterns, energy, domain, facts.half_squares, centre)
        middle = torch.zeros_like(facts.mean) if centre is None else centre
        self._states = States(
            patterns.n_components, n_classes, patterns.dtype, patterns.device, domain,
            middle.to(patterns.dtype),
        )  # fmt: skip
        self._columns: Columns | None = None

    # ---- how to make one -------------------------------------------------------------------------

    @classmethod
    def store(
        cls,
        patterns: Any,
        energy: EnergyFunction | Entmax | float | str | None = None,
        *,
        domain: Domain | None = None,
        centre: bool | None = None,
        shape: tuple[int, int] | None = None,
        tensor: str | None = None,
        mesh: Mesh | None = None,
    ) -> Self:
        """Store patterns.

        Args:
            patterns: (K, D), floating, boolean (-1 and +1) or uint8 pixels; pictures (K, H, W); a
                set of examples; or the path of a .npy or .safetensors file, whose patterns are read
                in blocks and may be larger than memory.
            energy: an energy function; a number n for the rectified polynomial; its name, with its
                default parameters. By default the exponential whose beta separates the patterns.
            domain: of the states. By default "binary" where every component is -1 or +1, else
                "space".
            centre: subtract the mean pattern in overlaps, as patterns with a common background
                need it. By default where polynomials look at 16 patterns or more that have over
                half of their square in common.
            shape: (H, W) of pictures.
            tensor: the name of the patterns in a safetensors file of several tensors.
            mesh: of processes, from ``denseam.mesh.start``. Each is called with the same arguments,
                looks at its share of the patterns, and has the results of all.

        Raises:
            InputError: for no patterns, patterns of mixed kinds or beyond the domain, an energy
                that has none there, a shape that does not fit, or more processes than patterns.
        """
        rows, picture = patterns_of(patterns, tensor)
        facts = facts_of(rows)
        D = rows.n_components
        if shape is not None or picture is not None:
            shape = image_shape("shape", shape or picture, D)
        domain = domain_of(facts, len(rows), domain, energy)
        function = energy_of(energy, rows, facts, domain)
        if centre is None:
            centre = isinstance(function, Homogeneous) and share_background(facts, len(rows))
        if centre and isinstance(function, Entmax | LogSumReLU):
            raise InputError(f"centre: {function.name} does not depend on a common background")
        middle = facts.mean if centre else None
        if mesh is not None and mesh.memory.size > len(rows):
            raise InputError(f"{len(rows)} patterns for {mesh.memory.size} processes: wanted more")
        rows.axis = mesh.memory if mesh is not None and mesh.memory.size > 1 else None
        return cls(rows, function, domain, facts, shape=shape, centre=middle)

    @classmethod
    def of_model(cls, model: DenseAM, *, shape: tuple[int, int] | None = None) -> Self:
        """Return the memories of a trained network, with its class neurons, in their box.

        One synchronous step of the class neurons, all of them at -1, is Eq. 2.1: see ``classify``.
        States are what memories look at: ``model.visible(inputs)`` where the model has a front.

        Raises:
            InputError: for another network.
        """
        if not isinstance(model, DenseAM):
            raise InputError(f"{type(model).__name__}: wanted a DenseAM, whose memories have an F")
        rows = Patterns(model.memories.detach())
        N = model.n_visible
        shape = image_shape("shape", shape, N) if shape is not None else square(N)
        return cls(
            rows, model.energy, "box", facts_of(rows), n_classes=model.n_classes, shape=shape
        )

    # ---- what it is ------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._patterns)

    @property
    def n_visible(self) -> int:
        """N, components without class neurons."""
        return self._patterns.n_components - self.n_classes

    @property
    def patterns(self) -> Tensor:
        """All patterns, (K, N + C); read into memory where they lie in a file."""
        return self._patterns.whole()

    @property
    def mean_pattern(self) -> Tensor:
        """The mean of all patterns, (N + C,) float64."""
        return self._facts.mean

    def __repr__(self) -> str:
        classes = f" and {self.n_classes} class neurons" if self.n_classes else ""
        centred = ", centred" if self.centre is not None else ""
        return (
            f"AssociativeMemory({len(self)} patterns of {self.n_visible} components{classes}, "
            f"{self.energy_function}, {self.domain}{centred})"
        )

    # ---- energies --------------------------------------------------------------------------------

    def energy(self, states: Tensor) -> Tensor:
        """Return E, (B, D) or (D,) -> (B,) float64; within the range of floats.

        For a state without its class neurons these are -1. +inf where no ball of a log-sum-ReLU
        reaches.

        Raises:
            InputError: for states of another shape or dtype, or beyond the domain.
        """
        return self.energy_parts(states).energy

    def energy_parts(self, states: Tensor) -> EnergyParts:
        """Return the terms of the energy, (B,) float64 each; errors as in ``energy``."""
        rows = self._states.whole(states)
        parts = [self.landscape.view(s, target=False).parts for s in _pieces(rows, _CHUNK)]
        return EnergyParts(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def flip_gaps(self, states: Tensor, neurons: Any = None) -> Tensor:
        """Return E with neuron i at -1 minus E with it at +1, (B, D) -> (B, n) float64.

        The sign of it is where asynchronous and synchronous steps turn a neuron (NIPS16, Eq. 3).

        Args:
            states: (B, D) or (D,).
            neurons: (n,) positions; all by default.

        Raises:
            InputError: as for ``energy``, for a position out of range, and in domain "space".
        """
        if self.domain == "space":
            raise InputError("flip_gaps: states of domain 'space' have no neurons to flip")
        D = self._patterns.n_components
        chosen = torch.arange(D) if neurons is None else torch.as_tensor(neurons).reshape(-1)
        if len(chosen) and not (int(chosen.min()) >= 0 and int(chosen.max()) < D):
            raise InputError(f"neurons: wanted positions in 0 .. {D - 1}, got {chosen.tolist()}")
        return self._get_columns().gaps(self._states.whole(states).double(), chosen)

    def classify(self, visible: Tensor) -> Tensor:
        """Return labels, (B, N) -> (B,): one step of the class neurons from -1 (Eq. 2.1).

        Raises:
            InputError: without class neurons, or as for ``energy``.
        """
        if not self.n_classes:
            raise InputError("classify: these patterns have no class neurons; see of_model")
        neurons = torch.arange(self.n_visible, self.n_visible + self.n_classes)
        states = self._states.with_classes(self._states.two_axes(visible)[:, : self.n_visible])
        return self.flip_gaps(states, neurons).argmax(dim=1)

    # ---- dynamics --------------------------------------------------------------------------------

    def step(self, states: Tensor, known: Any = None, **options: Any) -> Tensor:
        """Return states after one step, (B, D) -> (B, D); options as in ``retrieve``."""
        return self.retrieve(states, known, **{"start": "given", **options, "max_steps": 1}).states

    def retrieve(
        self,
        states: Tensor,
        known: Any = None,
        *,
        dynamics: Dynamics | None = None,
        max_steps: int = 100,
        label: int | None = None,
        start: str | None = None,
        tolerance: float | None = None,
        seed: int = 0,
        chunk: int = _CHUNK,
        keep: bool = False,
    ) -> Retrieval:
        """Follow the dynamics from states to stored patterns.

        Args:
            states: (B, D), (D,) or pictures (B, H, W), of the patterns' dtype. Class neurons may be
                left out: they begin at -1 and are free.
            known: components that stay as they are: bool of one state or of each, in its shape.
                None: all are free.
            dynamics: "asynchronous", "synchronous", "gradient" or "update"; by default the first
                of the domain in ``denseam.retrieval.DYNAMICS``.
            max_steps: at most so many; a sweep over all neurons is one.
            label: clamp the class neurons to this class.
            start: of components that are not ``known``: "given", as they are in ``states``, or
                "centre", 0 or the common background. By default "centre" with ``known``, but for
                binary states: what is covered says nothing.
            tolerance: the change, relative to a state's largest component (1 or more), that counts
                as standing still; 1e-5 in float32, 1e-10 in float64.
            seed: of the order of asynchronous sweeps.
            chunk: states at once; results do not depend on it.
            keep: keep the states of every step, in ``path``.

        Raises:
            InputError: for states of another shape or dtype or beyond the domain, a mask that
                fits neither one state nor the batch, or dynamics that the domain does not have.
        """
        B = len(self._states.two_axes(states))
        free = ~self._states.mask(known, B)
        given = self._states.started(states, free, known is not None, start)
        given = self._states.clamped(given, free, label)
        names = DYNAMICS[self.domain]
        chosen = choice("dynamics", names[0] if dynamics is None else dynamics, names)
        if tolerance is None:
            tolerance = _TOLERANCE[given.dtype]
        options: dict[str, Any] = {
            "max_steps": whole("max_steps", max_steps, 0), "seed": seed_of(seed), "keep": keep,
            "tolerance": number("tolerance", tolerance, least=0), "columns": self._get_columns,
        }  # fmt: skip
        size = whole("chunk", chunk)
        runs = [
            run(self.landscape, self.domain, chosen, s, f, **options)
            for s, f in zip(_pieces(given, size), _pieces(free, size), strict=True)
        ]
        return self._result(given, ~free, runs)

    def cover(self, states: Tensor, how: str, *, seed: int = 0) -> Covered:
        """Cover or disturb states to retrieve them again; see ``denseam.retrieval.cover``.

        Covered components begin at the centre of the domain, or at a coin's toss where binary.
        """
        rows = self._states.two_axes(states)
        return cover(
            rows, how, shape=self.shape, fill=self._states.middle[: rows.shape[1]],
            binary=self.domain == "binary", seed=seed,
        )  # fmt: skip

    def nearest(self, states: Tensor) -> Tensor:
        """Return the position of the stored pattern nearest to each state, (B, D) -> (B,)."""
        rows = self._states.whole(states)
        halves = self._half_squares(rows.dtype)
        return torch.cat([nearest_of(self._patterns, s, halves) for s in _pieces(rows, _CHUNK)])

    # ---- changes ---------------------------------------------------------------------------------

    def add(self, patterns: Any, probes: Tensor | None = None, **options: Any) -> Change | None:
        """Store more patterns, (M, D); they follow the others.

        The energy function stays; the domain has to hold the new patterns.

        Args:
            patterns: as ``store`` takes them.
            probes: states (B, D) to retrieve before and after.
            options: of ``retrieve``.

        Returns:
            What changes for the probes; None without them.

        Raises:
            InputError: for patterns that do not fit, or stored ones that lie in a file.
        """
        return self._edited(probes, options, add=rows_to_add(patterns, self._patterns))

    def remove(self, positions: Any, probes: Tensor | None = None, **options: Any) -> Change | None:
        """Forget patterns by their positions; arguments as for ``add``.

        Raises:
            InputError: for a position out of range, or when none would stay.
        """
        rows = chosen_rows(positions, len(self))
        return self._edited(probes, options, remove=rows)

    def replace(
        self, positions: Any, patterns: Any, probes: Tensor | None = None, **options: Any
    ) -> Change | None:
        """Put patterns (M, D) in the places of M others; arguments as for ``add``.

        Raises:
            InputError: for a position out of range, or another number of patterns.
        """
        rows = chosen_rows(positions, len(self))
        new = rows_to_add(patterns, self._patterns)
        if len(new) != len(rows):
            raise InputError(f"{len(new)} patterns for {len(rows)} positions: wanted as many")
        whole_ = self._patterns.whole().clone()
        whole_[rows] = new
        names = torch.arange(len(self))
        names[rows] = -1
        return self._exchanged(Patterns(whole_), names, probes, options)

    def depends_on(self, positions: Any, probes: Tensor, **options: Any) -> Change:
        """Return what would change for probes without some memories; nothing is changed.

        ``.depends`` says which decisions rest on them. Errors as for ``remove``.
        """
        patterns, names = edited_rows(self._patterns, remove=chosen_rows(positions, len(self)))
        before = self.retrieve(probes, **options)
        return Change(before, self._with(patterns).retrieve(probes, **options), names)

    def _edited(
        self, probes: Tensor | None, options: dict[str, Any], **edits: Tensor
    ) -> Change | None:
        patterns, names = edited_rows(self._patterns, **edits)
        return self._exchanged(patterns, names, probes, options)

    def _exchanged(
        self, patterns: Patterns, names: Tensor, probes: Tensor | None, options: dict[str, Any]
    ) -> Change | None:
        new = self._with(patterns)
        before = None if probes is None else self.retrieve(probes, **options)
        self.__dict__.update(new.__dict__)
        if probes is None or before is None:
            return None
        return Change(before, self.retrieve(probes, **options), names)

    def _with(self, patterns: Patterns) -> "AssociativeMemory":
        """Return a memory of other patterns with the same energy and domain."""
        facts = facts_of(patterns)
        domain_of(facts, len(patterns), self.domain, self.energy_function)
        axis = self._patterns.axis
        patterns.axis = axis if axis and axis.size <= len(patterns) else None
        return AssociativeMemory(
            patterns, self.energy_function, self.domain, facts, n_classes=self.n_classes,
            shape=self.shape, centre=None if self.centre is None else facts.mean,
        )  # fmt: skip

    # ---- inside ----------------------------------------------------------------------------------

    def _half_squares(self, dtype: torch.dtype) -> Tensor:
        return self._facts.half_squares.to(dtype)

    def _get_columns(self) -> Columns:
        if self._columns is None:
            if isinstance(self.energy_function, Entmax):
                raise InputError(f"{self.energy_function.name} has no neurons to flip")
            self._columns = Columns.of(self._patterns, self.energy_function, self.centre)
        return self._columns

    def _result(self, start: Tensor, known: Tensor, runs: list[Any]) -> Retrieval:
        states = torch.cat([each.states for each in runs])
        most = max(each.energies.shape[1] for each in runs)
        energies_ = [_repeated(each.energies, most) for each in runs]
        paths = [each.path for each in runs]
        count = max(map(len, paths))
        path = tuple(torch.cat([p[min(i, len(p) - 1)] for p in paths]) for i in range(count))
        nearest = self.nearest(states)
        patterns = self._patterns.take(nearest)
        overlap = torch.nn.functional.cosine_similarity(states, patterns, dim=1)
        labels = self.classify(states[:, : self.n_visible]) if self.n_classes else None
        return Retrieval(
            states, start, known, torch.cat(energies_),
            tuple(reason for each in runs for reason in each.stopped),
            torch.cat([each.steps for each in runs]), nearest, overlap, labels, path, patterns,
            self.shape, self.n_classes,
        )  # fmt: skip


def _repeated(energies_: Tensor, count: int) -> Tensor:
    """Return energies (B, S) with the last one repeated, (B, count)."""
    last = energies_[:, -1:].expand(-1, count - energies_.shape[1])
    return torch.cat([energies_, last], dim=1)


def _pieces(x: Tensor, size: int) -> list[Tensor]:
    """Return (B, ...) in pieces of up to ``size`` rows; one piece where there is no row."""
    return [x[start : start + size] for start in range(0, max(1, len(x)), size)]
