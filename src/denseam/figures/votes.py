"""Votes of memories, and how many of them decide: from features to prototypes (NIPS16)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from denseam.analysis import MemoryStatistics
from denseam.analysis.memories import STRONG
from denseam.errors import InputError
from denseam.figures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class VoteCurves:
    """Memory statistics of R models.

    Raises:
        InputError: when a model has no live memory.
    """

    names: tuple[str, ...]  # R models, like "n = 2"; at most 8
    statistics: tuple[MemoryStatistics, ...]  # R results of ``analysis.memory_statistics``

    def __post_init__(self) -> None:
        for name, each in zip(self.names, self.statistics, strict=False):
            if each.n_dead == each.n_memories:
                raise InputError(f"{name}: all {each.n_memories} memories are dead")


def plot_votes(record: VoteCurves, ax: "Axes", *, firm: bool = False) -> None:
    """Draw how many classes the live memories vote for, in % of them.

    Dead memories decide nothing, so their votes say nothing. With ``firm`` only votes count that
    have been driven to the edge, above ``analysis.memories.FIRM``.
    """
    _draw_votes(record, ax, firm=firm)
    canvas.legend(ax)


def plot_contributors(record: VoteCurves, ax: "Axes") -> None:
    """Draw how many memories contribute strongly to an image, in % of the images."""
    every = [each.contributors for each in record.statistics]
    last = max(j for counts in every for j, count in enumerate(counts) if count)
    first = 0 if any(counts[0] for counts in every) else 1
    for look, each in canvas.curves(record.names, record.statistics):
        counts = (*each.contributors, *[0] * last)[first : last + 1]
        percent = [100 * count / each.n_images for count in counts]
        ax.plot(range(first, last + 1), percent, **look)
    longest = max((each.contributor_bins for each in record.statistics), key=len)
    bins = longest[first : last + 1]
    names = [f"{a}" if a == b else f"{a}\N{EN DASH}{b}" for a, b in bins]
    ax.set_xticks(range(first, last + 1), names)
    ax.set_ylim(bottom=0)
    ax.set_xlabel(f"memories that contribute strongly\n(above {STRONG} of the largest)")
    ax.set_ylabel("% of images")
    canvas.legend(ax)


def record_of(statistics: MemoryStatistics, *, name: str | None = None) -> VoteCurves:
    """Return the record of one model's statistics."""
    return VoteCurves((name or f"n = {statistics.power:g}",), (statistics,))


def plot(record: Any, axes: Sequence["Axes"], *, firm: bool = False) -> None:
    """Draw votes on ``axes[0]`` and contributors on ``axes[1]``, which has the legend of both."""
    record = canvas.as_record(record, VoteCurves, record_of)
    _draw_votes(record, axes[0], firm=firm)
    plot_contributors(record, axes[1])


layout = canvas.fixed(size=(6.3, 2.4), columns=2)
save = canvas.saver(plot, layout, VoteCurves, record_of)


def _draw_votes(record: VoteCurves, ax: "Axes", *, firm: bool) -> None:
    for look, each in canvas.curves(record.names, record.statistics):
        votes = each.live_firm_votes if firm else each.live_votes
        ax.plot(range(len(votes)), [100 * k / sum(votes) for k in votes], **look)
    most = max(len(each.votes) for each in record.statistics) - 1
    ax.set_xticks(range(0, most + 1, max(1, most // 5)))
    ax.set_ylim(bottom=0)
    ax.set_xlabel(f"classes that a memory {'firmly ' if firm else ''}votes for")
    ax.set_ylabel("% of live memories")
