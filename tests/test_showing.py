"""What objects say of themselves: a line, a page in a notebook, a picture, rows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import denseam
from denseam import DenseAM, Guard
from denseam.analysis import (
    ConfidenceBins,
    confidence_bins,
    memory_statistics,
    transfer_confidence,
    transfer_errors,
)
from denseam.analysis.audit import audit
from denseam.data import Dataset, FeatureSet, ImageSet
from denseam.descent import cross_boundary, rubbish, sign_gradient
from denseam.errors import InputError, MissingPackageError
from denseam.figures import grid, memories, transfer
from denseam.guard.evaluation import Trial, evaluate_guard
from denseam.guard.verdict import Verdicts
from denseam.showing import Drawn, Shown, Tabular

SRC = Path(denseam.__file__).parent


def images(count=60, shape=(4, 5), seed=0, name="<dots>"):
    pixels = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return ImageSet(pixels, torch.arange(count) % 3, 3, ("cat", "dog", "$x$"), name)


def model(seed=0, shape=(4, 5)):
    return DenseAM(torch.Size(shape).numel(), 3, 30, 3, 5.0, seed=seed)


def _made():
    here, net, other = images(), model(), model(1)
    v = here.visible()
    guard = Guard(net, other, image_shape=(4, 5), score="gap").calibrate(here, 0.1)
    recipe = denseam.Recipe.paper(3, epochs=2, n_memories=9, per_class=5)
    rows = FeatureSet(torch.randn(6, 2), torch.arange(6) % 2, 2, feature_names=("a", "b"))
    explanation = net.explain(v[0])
    table = transfer_errors({"net": net}, {"dots": here})
    return [
        here, images(shape=(3, 4, 5)), Dataset("dots", here, here), here[3], rows, net,
        denseam.evaluate(net, here), sign_gradient(net, v, here.labels, 0.2),
        cross_boundary(net, v[:4], max_steps=50), rubbish(net, max_steps=20), explanation,
        explanation.predicted, recipe, denseam.train(recipe, here, test=here), table,
        transfer_confidence({"net": net}, {"dots": here}), memory_statistics(net, here, here),
        confidence_bins(torch.rand(50), torch.rand(50) < 0.5), guard, guard.predict(here),
        guard.predict(torch.full((3, 20), torch.nan)),
        evaluate_guard(guard, here, [Trial("noise", "junk", v.flip(0))]),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def objects():
    return _made()


def test_every_object_has_a_line_for_itself_and_a_page_without_markup_of_users(objects):
    for each in objects:
        assert isinstance(each, Shown)
        line = repr(each)
        assert line.startswith(f"{type(each).__name__}(")
        assert "\n" not in line
        assert "tensor(" not in line
        assert len(line) < 500, line
        page = each._repr_html_()
        assert "<dots>" not in page
        assert len(page) < 100_000


def drawn_of(objects):
    nothing = [o for o in objects if isinstance(o, Verdicts) and not o.scores.isfinite().any()]
    for each in nothing:
        with pytest.raises(InputError, match="nothing to draw"):
            each.plot()
    return [o for o in objects if isinstance(o, Drawn) and not any(o is n for n in nothing)]


def test_every_drawn_object_draws_itself_and_leaves_the_users_settings(objects):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    drawn = drawn_of(objects)
    assert len(drawn) > 15
    for each in drawn:
        assert each.plot().axes
    assert model().plot_memories(count=1)._repr_png_().startswith(b"\x89PNG")
    assert dict(mpl.rcParams) == before


@pytest.mark.slow
def test_every_picture_becomes_a_file_and_the_value_of_a_cell(objects, tmp_path):
    audited = audit(model(), images(9), queries=10)
    assert "tensor(" not in repr(audited)
    for each in [*drawn_of(objects), audited]:
        assert each.plot()._repr_png_().startswith(b"\x89PNG")
        assert each.plot(tmp_path / "a.svg") is None
        assert "<svg" in (tmp_path / "a.svg").read_text()
    audited.save_page(tmp_path / "audit.html")
    assert "denseam.audit(" in (tmp_path / "audit.html").read_text()


def test_rows_become_frames(objects):
    for each in objects:
        if isinstance(each, Tabular):
            frame = each.to_frame()
            assert len(frame.columns) > 1
    here, net = images(), model()
    evaluation = denseam.evaluate(net, here).to_frame()
    assert list(evaluation["class"]) == ["cat", "dog", "$x$"]
    assert evaluation["images"].sum() == 60
    frame = FeatureSet(torch.eye(2), torch.tensor([1, 0]), 2, ("u", "v")).to_frame()
    assert frame.to_dict("list") == {
        "x0": [1, 0], "x1": [0, 1], "label": [1, 0], "class": ["v", "u"]
    }  # fmt: skip
    table = transfer_errors({"a": net, "b": model(1)}, {"x": here, "y": here.subset([0])})
    rows = table.to_frame()
    assert list(rows["made against"]) == ["x", "x", "y", "y"]
    assert list(rows["model"]) == ["a", "b", "a", "b"]
    assert rows["error"].tolist() == table.values.flatten().tolist()


def test_without_pandas_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'denseam\[frames\]'"):
        images().to_frame()


def test_a_picture_goes_onto_the_axes_that_are_given():
    from matplotlib.figure import Figure

    ax, (one, two) = Figure().subplots(), Figure().subplots(1, 2)
    assert model().plot_memories(ax, count=4) is ax
    (drawn,) = ax.get_images()
    assert drawn.get_array().shape == (4 * 2 + 1, 5 * 2 + 1)
    axes = [one, two]
    recipe = denseam.Recipe.paper(3, epochs=2, n_memories=9, per_class=5)
    assert denseam.train(recipe, images(), test=images()).plot(axes) is axes
    assert one.get_ylabel() == "error, %"
    assert len(one.lines) == len(two.lines) == 2


def test_memories_of_pictures_in_colour_and_of_plain_numbers_are_pictures():
    from matplotlib.figure import Figure

    coloured = model(shape=(3, 4, 5))
    coloured.trained_on = denseam.TrainedOn("dots train", (3, 4, 5), ("a", "b", "c"))
    assert coloured.picture_shape == (3, 4, 5)
    ax = Figure().subplots()
    coloured.plot_memories(ax, count=1)
    assert ax.get_images()[0].get_array().shape == (4, 5, 3)
    rows = memories.record_of(model(shape=(22,)), count=2)  # no square
    assert rows.images.shape == (1, 2, 5, 5)
    assert rows.images[0, 0].flatten()[22:].tolist() == [0, 0, 0]


def test_an_explanation_of_an_embedding_shows_all_of_its_numbers(tmp_path):
    from matplotlib.figure import Figure

    net, ax = model(shape=(22,)), Figure().subplots()
    v = torch.rand(22) * 2 - 1
    net.explain(v, 3).plot(ax)
    last = ax.get_images()[-1].get_array()
    assert last.shape == (5, 5)
    assert last.compressed().tolist() == v.tolist()


def test_figures_say_who_draws_an_object(objects):
    from matplotlib.figure import Figure

    ax, here = Figure().subplots(), objects[0]
    memories.plot(model(), ax)
    with pytest.raises(InputError, match=r"memories draws a MemoryGrids, got ImageSet: it"):
        memories.plot(here, ax)
    with pytest.raises(InputError, match=r"transfer draws a TransferMap, got int$"):
        transfer.plot(7, ax)
    with pytest.raises(InputError, match="wanted pictures to draw"):
        Dataset("r", *[FeatureSet(torch.eye(2), torch.tensor([1, 0]), 2)] * 2).plot()


def test_a_contact_sheet_keeps_colours():
    red = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    red[:, 0] = 200
    assert grid.grid(red).getpixel((3, 3)) == (200, 0, 0)


def test_only_one_file_imports_rooms_by_name():
    texts = {str(path.relative_to(SRC)): path.read_text() for path in SRC.rglob("*.py")}
    rooms = re.compile(r"import_module\((f?\"denseam|f?\"\{__name__)")
    by_name = {path for path, text in texts.items() if rooms.search(text)}
    own_rooms = {"cli/completion.py", "guard/server/__init__.py", "kernels/triton/kernel.py"}
    assert by_name - own_rooms == {"__init__.py", "showing.py"}


SLOW = pytest.mark.slow  # a process each
BACKENDS = ["module://no_such_module.backend"]
BACKENDS += [pytest.param(name, marks=SLOW) for name in ("nonsense", "", "agg")]


@pytest.mark.parametrize("backend", BACKENDS)
def test_figures_do_not_need_the_backend_that_the_environment_names(backend, tmp_path):
    code = (
        "import os, torch\n"
        "from denseam.figures import memories\n"
        "record = memories.MemoryGrids(('n',), torch.zeros(1, 2, 3, 3))\n"
        f"memories.save(record, {str(tmp_path / 'a.png')!r})\n"
        f"assert os.environ['MPLBACKEND'] == {backend!r}\n"
        "import matplotlib; matplotlib.get_backend()\n"
    )
    environment = {**os.environ, "MPLBACKEND": backend}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=environment)
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_long_fields_are_cut():
    bins = ConfidenceBins((0.0, 0.5, 1.0), (1, 1), (0.0, 1.0), ((0, 1), (0, 1)), (0.3, 0.7))
    assert repr(bins).startswith("ConfidenceBins(2 images in 2 bins")
    trial = Trial("n", "junk", torch.zeros(2, 3))
    assert repr(trial) == "Trial(name='n', kind='junk', visible=<2x3 float32>, labels=None)"
