"""Votes and strong contributions, in per cent of what they are counted on."""

import pytest
from PIL import Image

from denseam.errors import InputError
from denseam.figures import votes

from .small import some_axes, some_statistics, some_votes


def curves(ax):
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in ax.get_lines()]


def test_votes_are_those_of_live_memories():
    (ax,) = some_axes()
    votes.plot_votes(some_votes(), ax)
    (x, first), (y, second) = curves(ax)
    assert (x, y) == ([0, 1, 2, 3], [0, 1, 2])
    assert first == pytest.approx([12.5, 25, 50, 12.5])
    assert second == pytest.approx([0, 200 / 3, 100 / 3])
    assert ax.get_xlabel() == "classes that a memory votes for"
    assert list(ax.get_xticks()) == [0, 1, 2, 3]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["n = 2", "n = 30"]


def test_firm_votes_say_so():
    (ax,) = some_axes()
    votes.plot_votes(some_votes(), ax, firm=True)
    assert curves(ax)[0][1] == pytest.approx([50, 37.5, 12.5, 0])
    assert ax.get_xlabel() == "classes that a memory firmly votes for"


def test_contributors_end_with_the_last_bin_that_is_not_empty():
    (ax,) = some_axes()
    votes.plot_contributors(some_votes(), ax)
    (x, first), (y, second) = curves(ax)
    assert x == y == [1, 2, 3]
    assert first == pytest.approx([75, 0, 25])
    assert second == pytest.approx([75, 25, 0])
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == ["1", "2\N{EN DASH}3", "4\N{EN DASH}7"]
    assert "above 0.9 of the largest" in ax.get_xlabel()


def test_images_without_a_contributor_are_shown_if_there_are_any():
    (ax,) = some_axes()
    none = some_statistics(contributors=(8, 12, 0, 0, 0))
    votes.plot_contributors(some_votes(statistics=(some_statistics(), none)), ax)
    assert curves(ax)[1] == ([0, 1, 2, 3], pytest.approx([40, 60, 0, 0]))
    assert ax.get_xticklabels()[0].get_text() == "0"


def test_both_panels_share_the_legend_of_the_second(tmp_path):
    axes = some_axes(2)
    votes.plot(some_votes(), axes, firm=True)
    assert [ax.get_legend() is None for ax in axes] == [True, False]
    assert "firmly" in axes[0].get_xlabel()
    plain, firm = tmp_path / "plain.png", tmp_path / "firm.png"
    votes.save(some_votes(), plain)
    votes.save(some_votes(), firm, firm=True)
    assert plain.read_bytes() != firm.read_bytes()
    with Image.open(plain) as image:
        assert image.size == (1890, 720)


DEAD = some_statistics(n_dead=10, live_votes=(0,) * 4)


def test_a_model_without_a_live_memory_is_refused():
    with pytest.raises(InputError, match="n = 30: all 10 memories are dead"):
        some_votes(statistics=(some_statistics(), DEAD))
