"""From features to prototypes (NIPS16): votes of memories, and how many of them decide."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from denseam.analysis import MemoryStatistics
from denseam.analysis.memories import STRONG
from denseam.errors import InputError
from denseam.figures import canvas
from denseam.figures.checks import check_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["VoteCurves", "plot", "plot_contributors", "plot_votes", "save"]


@dataclass(frozen=True)
class VoteCurves:
    """Memory statistics of R models.

    Attributes:
        names: R models, like "n = 2"; at most 8, more curves cannot be told apart.
        statistics: R times what ``analysis.memory_statistics`` found.

    Raises:
        InputError: when any of it does not fit together, or a model has no live memory.
    """

    names: tuple[str, ...]
    statistics: tuple[MemoryStatistics, ...]

    def __post_init__(self) -> None:
        check_curves(self.names, self.statistics, MemoryStatistics, "statistics")
        for name, each in zip(self.names, self.statistics, strict=True):
            if each.n_dead == each.n_memories:
                raise InputError(f"{name}: all {each.n_memories} memories are dead")


def plot_votes(record: VoteCurves, ax: "Axes", *, firm: bool = False) -> None:
    """Draw how many classes the live memories vote for, in % of them.

    Dead memories decide nothing, so their votes say nothing. With ``firm`` only votes count that
    have been driven to the edge, above ``analysis.memories.FIRM``.
    """
    _draw_votes(record, ax, firm=firm)
    _legend(ax)


def plot_contributors(record: VoteCurves, ax: "Axes") -> None:
    """Draw how many memories contribute strongly to an image, in % of the images."""
    last = max(_last(found) for found in record.statistics)
    first = 0 if any(found.contributors[0] for found in record.statistics) else 1
    for name, found, style in _curves(record):
        counts = (*found.contributors, *[0] * last)[first : last + 1]
        percent = [100 * count / found.n_images for count in counts]
        ax.plot(range(first, last + 1), percent, label=canvas.literal(name), **style)
    longest = max(record.statistics, key=lambda found: len(found.contributor_bins))
    bins = longest.contributor_bins[first : last + 1]
    names = [f"{a}" if a == b else f"{a}\N{EN DASH}{b}" for a, b in bins]
    ax.set_xticks(range(first, last + 1), names)
    ax.set_ylim(bottom=0)
    ax.set_xlabel(f"memories that contribute strongly\n(above {STRONG} of the largest)")
    ax.set_ylabel("% of images")
    _legend(ax)


def plot(record: VoteCurves, axes: Sequence["Axes"], *, firm: bool = False) -> None:
    """Draw votes on ``axes[0]`` and contributors on ``axes[1]``, which has the legend of both."""
    _draw_votes(record, axes[0], firm=firm)
    plot_contributors(record, axes[1])


def save(record: VoteCurves, path: str | os.PathLike[str], *, firm: bool = False) -> None:
    """Write the figure to a .png, .svg or .pdf file; errors as in ``canvas.save``."""
    canvas.save(path, lambda *axes: plot(record, axes, firm=firm), size=(6.3, 2.4), columns=2)


def _draw_votes(record: VoteCurves, ax: "Axes", *, firm: bool) -> None:
    for name, found, style in _curves(record):
        votes = found.live_firm_votes if firm else found.live_votes
        ax.plot(
            range(len(votes)),
            [100 * k / sum(votes) for k in votes],
            label=canvas.literal(name),
            **style,
        )
    most = max(len(found.votes) for found in record.statistics) - 1
    ax.set_xticks(range(0, most + 1, max(1, most // 5)))
    ax.set_ylim(bottom=0)
    ax.set_xlabel(f"classes that a memory {'firmly ' if firm else ''}votes for")
    ax.set_ylabel("% of live memories")


def _curves(record: VoteCurves) -> list[tuple[str, MemoryStatistics, dict[str, Any]]]:
    return list(zip(record.names, record.statistics, canvas.CURVES, strict=False))


def _last(found: MemoryStatistics) -> int:
    """The last bin with an image."""
    return max(j for j, count in enumerate(found.contributors) if count)


def _legend(ax: "Axes") -> None:
    """To the right of the Axes, where no curve can run into it."""
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
