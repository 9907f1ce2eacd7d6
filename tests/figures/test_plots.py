"""What stands on the Axes: images at their places, curves through their points, marks and names."""

import itertools
import math

import pytest
import torch
from matplotlib.colors import to_rgb

from denseam.errors import InputError
from denseam.figures import boundary, canvas, rubbish, sign

from .small import some_axes, some_curves, some_grid, some_trace


def tick_names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def at_ticks(ax, height, width):
    """The images of a mosaic, (R, C, H, W), found by where the names stand."""
    (drawn,) = ax.get_images()
    whole = torch.from_numpy(drawn.get_array().filled(math.nan))
    tops = [round(y - (height - 1) / 2) for y in ax.get_yticks()]
    lefts = [round(x - (width - 1) / 2) for x in ax.get_xticks()]
    rows = [[whole[y : y + height, x : x + width] for x in lefts] for y in tops]
    return whole, torch.stack([torch.stack(row) for row in rows])


def test_rubbish_shows_every_image_under_its_names():
    record, (ax,) = some_grid(), some_axes()
    rubbish.plot(record, ax)
    assert tick_names(ax.yaxis) == ["n = 2", "n = 30"]
    assert tick_names(ax.xaxis) == ["a", "b", "c"]
    whole, shown = at_ticks(ax, 5, 4)
    assert shown.equal(record.images)
    assert int(whole.isfinite().sum()) == record.images.numel()  # the rest is gaps
    (drawn,) = ax.get_images()
    assert (drawn.get_cmap().name, drawn.get_clim()) == ("gray", (-1, 1))
    assert ax.yaxis_inverted()


def test_rubbish_crosses_out_what_is_missing():
    record, (ax,) = some_grid(), some_axes()
    rubbish.plot(record, ax)
    white, black = ax.get_lines()
    assert (white.get_color(), black.get_color()) == ("white", "black")
    assert white.get_linewidth() > black.get_linewidth()
    x, y = black.get_data()
    middles = {(round(sum(x[i : i + 2]) / 2, 1), round(sum(y[i : i + 2]) / 2, 1))
               for i in range(0, len(x), 3)}  # fmt: skip
    assert len(x) == 2 * 2 * 3
    assert middles == {(ax.get_xticks()[2], ax.get_yticks()[0]),
                       (ax.get_xticks()[0], ax.get_yticks()[1])}  # fmt: skip
    assert ax.get_xlabel() == (
        "gray scale: black -1, white +1\ncrossed out: the class was not reached (2 of 6)"
    )
    (drawn,) = ax.get_images()
    assert [*ax.get_xlim(), *ax.get_ylim()] == drawn.get_extent()


def test_rubbish_without_anything_missing_says_nothing_of_it():
    (ax,) = some_axes()
    rubbish.plot(some_grid(missing=torch.zeros(2, 3).bool()), ax)
    assert len(ax.get_lines()) == 0
    assert ax.get_xlabel() == "gray scale: black -1, white +1"


def test_objectives_run_along_the_path_and_cross_at_the_mark():
    trace, (ax,) = some_trace(), some_axes()
    boundary.plot_objectives(trace, ax)
    top, target, mark = ax.get_lines()
    assert list(top.get_xdata()) == list(target.get_xdata()) == [0.0, 0.5, 1.0, 1.5]
    assert tuple(top.get_ydata()) == trace.log_top
    assert tuple(target.get_ydata()) == trace.log_target
    assert top.get_linestyle() != target.get_linestyle()
    assert list(mark.get_xdata()) == [0.75, 0.75]
    (said,) = ax.texts
    assert (said.get_text(), said.get_position()[0]) == ("boundary at 0.75", 0.75)
    assert ax.get_xlabel() == "path length, visible units (2 = black to white)"
    assert ax.get_ylabel() == "log objective, n = 30"
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert ["top" in names[0], "target" in names[1]] == [True, True]


def test_objectives_that_never_cross_have_no_mark():
    (ax,) = some_axes()
    boundary.plot_objectives(some_trace(crossing=None), ax)
    assert len(ax.get_lines()) == 2
    assert len(ax.texts) == 0


def test_triplets_stand_in_rows_over_their_labels():
    traces = [some_trace(name="n = 2", labels=("1", "1 / 7", "7")), some_trace(name="n = 3")]
    (ax,) = some_axes()
    boundary.plot_triplets(traces, ax)
    assert tick_names(ax.yaxis) == ["n = 2", "n = 3"]
    assert tick_names(ax.xaxis) == ["clean", "boundary", "final"]
    _, shown = at_ticks(ax, 5, 4)
    assert shown.equal(torch.stack([trace.images for trace in traces]))
    assert [t.get_text() for t in ax.texts] == ["1", "1 / 7", "7", "5", "5 / 3", "3"]
    assert [t.xy[0] for t in ax.texts] == [*ax.get_xticks()] * 2
    assert [t.xy[1] for t in ax.texts] == [y + 2.5 for y in ax.get_yticks() for _ in range(3)]


def test_triplets_of_one_name_share_a_row():
    traces = [some_trace(name=name, images=torch.full((3, 5, 4), shade))
              for name, shade in (("a", 0.1), ("b", 0.2), ("a", 0.3))]  # fmt: skip
    (ax,) = some_axes()
    boundary.plot_triplets(traces, ax)
    assert tick_names(ax.yaxis) == ["a", "b"]
    assert tick_names(ax.xaxis) == ["clean", "boundary", "final"] * 2
    _, shown = at_ticks(ax, 5, 4)
    assert shown[0, 0, 0, 0] == pytest.approx(0.1)
    assert shown[0, 5, 0, 0] == pytest.approx(0.3)
    assert shown[1, 3:].isnan().all()  # b has one trace only
    assert len(ax.texts) == 9
    gaps = torch.tensor(ax.get_xticks()).diff()
    assert gaps.argmax() == 2


def test_boundary_draws_the_first_trace_and_all_triplets():
    axes = some_axes(2)
    boundary.plot([some_trace(name="first"), some_trace(name="second")], axes)
    assert axes[0].get_ylabel().endswith("first")
    assert tick_names(axes[1].yaxis) == ["first", "second"]


def test_triplets_are_refused():
    (ax,) = some_axes()
    with pytest.raises(InputError, match="no trace"):
        boundary.plot_triplets([], ax)
    with pytest.raises(InputError, match="no trace"):
        boundary.plot([], [ax, ax])
    other = some_trace(images=torch.zeros(3, 2, 2))
    with pytest.raises(InputError, match=r"one size.*\[\(2, 2\), \(5, 4\)\]"):
        boundary.plot_triplets([some_trace(), other], ax)


def test_errors_in_per_cent_with_their_bands():
    record, (ax,) = some_curves(), some_axes()
    sign.plot_errors(record, ax)
    for line, row in zip(ax.get_lines(), record.errors, strict=True):
        assert tuple(line.get_xdata()) == record.eps
        assert list(line.get_ydata()) == pytest.approx((100 * row).tolist())
    for band, row in zip(ax.collections, record.intervals, strict=True):
        corners = band.get_paths()[0].vertices
        for eps, (low, high) in zip(record.eps, (100 * row).tolist(), strict=True):
            heights = corners[corners[:, 0] == eps][:, 1]
            assert (heights.min(), heights.max()) == pytest.approx((low, high))
    assert "% of 400 images" in ax.get_ylabel()
    assert "L_\\infty" in ax.get_xlabel()
    assert "visible units" in ax.get_xlabel()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["n = 2", "n = 30"]


def test_confidences_leave_a_gap_where_there_is_no_error():
    record, (ax,) = some_curves(), some_axes()
    sign.plot_confidences(record, ax)
    whole, broken = (line.get_ydata() for line in ax.get_lines())
    assert list(whole) == pytest.approx([70, 90, 95])
    assert math.isnan(broken[1])
    assert [broken[0], broken[2]] == pytest.approx([60, 14])
    assert "mean confidence, %" in ax.get_ylabel()


def test_points_alone_between_gaps_are_marked():
    errors = torch.full((1, 40), 0.5)
    errors[0, [6, 8]] = 0
    confidences = torch.where(errors == 0, math.nan, 0.9)
    intervals = torch.tensor([0.0, 1.0]).expand(1, 40, 2)
    eps = tuple(i / 100 for i in range(40))
    record = some_curves(names=("n = 2",), eps=eps, errors=errors, intervals=intervals,
                         confidences=confidences)  # fmt: skip
    axes = some_axes(2)
    sign.plot(record, axes)
    assert 7 not in axes[0].get_lines()[0].get_markevery()
    assert 7 in axes[1].get_lines()[0].get_markevery()
    assert len(axes[0].get_lines()[0].get_markevery()) <= 12


def test_both_panels_share_the_legend_of_the_second():
    axes = some_axes(2)
    sign.plot(some_curves(), axes)
    assert axes[0].get_legend() is None
    assert axes[1].get_legend() is not None
    assert [len(ax.get_lines()) for ax in axes] == [2, 2]
    assert [len(ax.collections) for ax in axes] == [2, 0]


def lightness(colour):
    """L* of CIELAB, 0 black to 100 white."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 116 * luminance ** (1 / 3) - 16


def test_curves_can_be_told_apart_without_colour():
    four = [lightness(curve["color"]) for curve in canvas.CURVES[:4]]
    assert all(b - a > 15 for a, b in itertools.pairwise(four))
    assert four[-1] < 80  # and from the paper
    # With the two that share a shade, the line differs.
    for shade in range(4):
        assert len({str(curve["linestyle"]) for curve in canvas.CURVES[shade::4]}) == 2
    looks = {(c["color"], str(c["linestyle"]), c["marker"]) for c in canvas.CURVES}
    assert len(looks) == 8
    assert len({str(c["linestyle"]) for c in canvas.CURVES[:4]}) == 4
    assert len({c["marker"] for c in canvas.CURVES}) == 8
