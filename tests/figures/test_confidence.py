"""Fig. 6: errors at their confidences, with intervals, and how many images they come from."""

import pytest
from PIL import Image

from denseam.errors import InputError
from denseam.figures import canvas, confidence

from .small import some_axes, some_confidences


def test_errors_stand_at_the_mean_confidence_of_their_bins():
    record, (ax,) = some_confidences(), some_axes()
    confidence.plot_errors(record, ax)
    for curve, bins in zip(ax.containers, record.bins, strict=True):
        line, _, (bars,) = curve
        shown = [0, 2] if bins.counts[1] == 0 else [1, 2]
        assert list(line.get_xdata()) == pytest.approx([100 * bins.confidences[j] for j in shown])
        assert list(line.get_ydata()) == pytest.approx([100 * bins.errors[j] for j in shown])
        for (low, high), j in zip(bars.get_segments(), shown, strict=True):
            assert (low[1], high[1]) == pytest.approx(tuple(100 * e for e in bins.intervals[j]))
    looks = [curve[0].get_color() for curve in ax.containers]
    assert looks == [style["color"] for style in canvas.CURVES[:2]]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["calibrated", "n = 2", "n = 30"]
    ideal = ax.get_lines()[0]
    assert (list(ideal.get_xdata()), list(ideal.get_ydata())) == ([0, 100], [100, 0])
    assert ax.get_ylim()[0] < 0
    assert ax.get_ylim()[1] > 100
    assert "95 % interval" in ax.get_ylabel()


def test_counts_are_those_of_the_bins_on_a_logarithmic_scale():
    record, (ax,) = some_confidences(), some_axes()
    confidence.plot_counts(record, ax)
    first, second = ax.get_lines()
    assert list(first.get_xdata()) == pytest.approx([20, 90])
    assert list(first.get_ydata()) == [2, 4]
    assert list(second.get_ydata()) == [1, 1]
    assert ax.get_yscale() == "log"
    assert 0 < ax.get_ylim()[0] < 1
    assert ax.get_ylabel() == "images"


def test_both_panels_have_one_axis_of_confidence():
    axes = some_axes(2)
    confidence.plot(some_confidences(), axes)
    assert axes[0].get_xlim() == axes[1].get_xlim()
    assert axes[0].get_xlabel() == ""
    assert axes[1].get_xlabel() == "mean confidence of a bin, %"
    assert [ax.get_legend() is None for ax in axes] == [False, True]
    assert not axes[0].xaxis.get_tick_params()["labelbottom"]


def test_the_figure_saves_itself(tmp_path):
    confidence.save(some_confidences(), tmp_path / "6.png")
    with Image.open(tmp_path / "6.png") as image:
        assert image.size == (1290, 1020)
        assert min(image.convert("L").getextrema()) < 60


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "0 curves: wanted 1 to 8"),
        (("a",), "1 names for 2 curves: wanted one for each"),
        (tuple("abcdefghi"), "9 curves: wanted 1 to 8, to be told apart"),
    ],
)
def test_every_curve_has_a_name_and_can_be_told_apart(names, message):
    (ax,) = some_axes()
    with pytest.raises(InputError, match=message):
        confidence.plot_errors(some_confidences(names=names), ax)
