"""Modules of others, from images in [0, 1], in evaluate, audit and attacks; a bar of training."""

import io
import math
import sys

import pytest
import torch
from torch import nn

import denseam
from denseam import VisibleModule
from denseam.data import ImageSet
from denseam.errors import InputError
from denseam.training import ProgressBar
from denseam.training.bar import watched


def images(shape=(6, 6), count=24):
    pixels = torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(1))
    return ImageSet(pixels.to(torch.uint8), torch.arange(count) % 3, 3, name="dots")


def cnn(channels=1):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


@pytest.mark.parametrize(("channels", "shape"), [(1, (6, 6)), (3, (3, 6, 6))])
def test_a_module_gets_its_images_in_unit_range_and_shape(channels, shape):
    network, here = cnn(channels), images(shape)
    module = VisibleModule(network, (channels, 6, 6))
    direct = network(here.images.reshape(-1, channels, 6, 6) / 255)
    assert torch.allclose(module(here.visible()), direct, atol=1e-6)
    evaluation = denseam.evaluate(module, here)
    wrong = (direct.argmax(dim=1) != here.labels).double().mean()
    assert evaluation.error == pytest.approx(float(wrong))
    assert math.isnan(evaluation.mean_activity)
    assert evaluation.to_json()["mean_activity"] is None
    moved = denseam.sign_gradient(module, here.visible(), here.labels, 0.2)
    assert moved.images.shape == (24, here.n_visible)


@pytest.mark.slow
def test_a_module_is_audited():
    network, here = cnn(), images()
    direct = network(here.images[:, None] / 255).argmax(dim=1)
    right = ImageSet(here.images, direct, 3, name="dots")
    result = denseam.audit(VisibleModule(network), right.subset(slice(8)), queries=20)
    assert result.clean == 1
    same = denseam.audit(
        _Shifted(network), right.subset(slice(8)), queries=20, input_shape=(1, 6, 6)
    )
    assert same.headline.accuracy == result.headline.accuracy


class _Shifted(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, visible):
        return self.network(visible / 2 + 0.5)


def test_what_does_not_fit_is_one_clear_error():
    here, odd = images(), images((5, 7))
    with pytest.raises(InputError, match=r"goes into denseam.VisibleModule\(module, input_shape\)"):
        denseam.evaluate(cnn(), here)
    with pytest.raises(InputError, match=r"flat images \(1, 36\): say input_shape, such as \(1, 6"):
        denseam.audit(cnn(), here)
    with pytest.raises(InputError, match=r"wanted \(1, H, W\) or \(3, H, W\) of 35 pixels"):
        denseam.evaluate(VisibleModule(cnn()), odd)
    with pytest.raises(InputError, match=r"input_shape = \(3, 6, 6\): images have 36 pixels"):
        denseam.evaluate(VisibleModule(cnn(3), (3, 6, 6)), here)
    with pytest.raises(InputError, match=r"Sequential does not take images \(24, 36\)"):
        denseam.evaluate(VisibleModule(cnn(), (36,)), here)
    with pytest.raises(InputError, match=r"wanted a torch.nn.Module, got int"):
        VisibleModule(3)
    with pytest.raises(InputError, match=r"returned \(24, 6, 6\): wanted logits \(24, C\)"):
        denseam.evaluate(VisibleModule(nn.Identity(), (6, 6)), here)
    with pytest.raises(InputError, match="3 classes, but the module has 2"):
        denseam.evaluate(VisibleModule(nn.Sequential(nn.Flatten(), nn.Linear(36, 2))), here)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_training_shows_a_bar_where_somebody_watches(monkeypatch):
    recipe = denseam.Recipe.paper(3, epochs=3, n_memories=9, per_class=4)
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    denseam.train(recipe, images(), test=images())
    last = out.getvalue().rpartition("\r")[2]
    assert last.startswith("epoch 3/3 [########################] training error ")
    assert last.rstrip().endswith(" s")
    assert last.endswith("\n")
    assert "test error" in last
    for quiet, progress in ((io.StringIO(), None), (Terminal(), False)):
        monkeypatch.setattr(sys, "stderr", quiet)
        denseam.train(recipe, images(), progress=progress)
        assert quiet.getvalue() == ""
    piped = io.StringIO()
    monkeypatch.setattr(sys, "stderr", piped)
    denseam.train(recipe, images(), progress=True)
    assert "epoch 3/3" in piped.getvalue()


def test_a_resumed_run_says_what_is_left_of_it(tmp_path):
    recipe = denseam.Recipe.paper(3, epochs=3, n_memories=9, per_class=4)

    class Stop(denseam.Callback):
        def on_epoch(self, record):
            if record.epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        denseam.train(recipe, images(), tmp_path / "run", callbacks=[Stop()])
    out = io.StringIO()
    denseam.train(recipe, images(), tmp_path / "run", callbacks=[ProgressBar(out)])
    first, *_ = (line for line in out.getvalue().split("\r") if line)
    assert first.startswith("epoch 3/3")


def test_a_kernel_of_jupyter_watches(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not watched()
    shell = type("Shell", (), {"kernel": object()})()
    ipython = type(sys)("IPython")
    ipython.get_ipython = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert watched()
