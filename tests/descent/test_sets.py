"""Image sets made by descents: what they hold, and that interruptions cost nothing."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from tests.descent.small import images, prototypes
from torch import nn

from denseam import data
from denseam.data import ImageSet
from denseam.data.pixels import to_bytes, to_visible
from denseam.descent import (
    Stop,
    attack_set,
    boundary_set,
    cross_boundary,
    minimum_set,
    rubbish_set,
    sign_gradient,
)
from denseam.errors import InputError, RunFolderError


@pytest.fixture
def model():
    return prototypes(20.0).float()


@pytest.fixture
def clean(model):
    v = images(11, 12, torch.float32)
    labels = model.predict(v)
    labels[2] = (labels[2] + 1) % 3  # the model is wrong here
    return ImageSet(v.reshape(-1, 4, 3), labels, 3, ("a", "b", "c"), "clean")


def same(a, b):
    return (
        torch.equal(a.images, b.images)
        and torch.equal(a.labels, b.labels)
        and all(torch.equal(a.facts[k], b.facts[k]) for k in (*a.facts, *b.facts) if k != "margin")
    )


def test_an_option_of_a_later_version_is_recorded_where_it_is_used(model, clean):
    plain = minimum_set(model, clean, rounds=1).metadata
    assert "eight_bit" not in plain["parameters"]
    assert minimum_set(model, clean, rounds=1, eight_bit=False).metadata == plain
    pictures = minimum_set(model, clean, rounds=1, eight_bit=True)
    assert pictures.metadata["parameters"]["eight_bit"] is True
    assert torch.equal(pictures.images, to_visible(to_bytes(pictures.images)))


def test_a_boundary_set_is_the_descent_with_the_right_labels(model, clean):
    made = boundary_set(model, clean, step=0.05, keep=["boundary", "before", "final"], chunk=4)
    found = cross_boundary(model, clean.visible(), step=0.05, converge=True)
    torch.testing.assert_close(made.images.flatten(1), found.images)
    assert torch.equal(made.labels, clean.labels)
    assert made.class_names == clean.class_names
    for name, wanted in (
        ("top", found.labels), ("target", found.targets), ("success", found.success),
        ("steps", found.steps), ("source", torch.arange(11)),
        ("predicted", model.predict(found.images)),
    ):  # fmt: skip
        assert torch.equal(made.facts[name], wanted), name
    torch.testing.assert_close(made.facts["l2"], found.distances.l2)
    torch.testing.assert_close(made.facts["boundary_l2"], found.boundary_distances.l2)
    torch.testing.assert_close(made.facts["scores"], model(found.images).detach())
    torch.testing.assert_close(made.facts["boundary"].flatten(1), found.boundary)
    torch.testing.assert_close(made.facts["final"].flatten(1), found.final)
    reasons = [made.metadata["stopped"][i] for i in made.facts["stopped"].tolist()]
    assert reasons == list(found.stopped)


def test_metadata_say_what_made_the_set(model, clean):
    made = boundary_set(model, clean, target="least", step=0.05, max_steps=7)
    facts = json.loads(json.dumps(made.metadata))
    assert facts["made_by"] == "boundary"
    assert facts["model"]["power"] == 20
    assert facts["images"] == {"name": "clean", "sha256": clean.digest()}
    asked = facts["parameters"]
    assert (asked["target"], asked["step"], asked["max_steps"]) == ("least", 0.05, 7)
    assert (asked["mode"], asked["clip"], asked["loss_power"]) == ("faithful", True, 30)
    assert attack_set(model, clean, "fgsm", 0.1).metadata["parameters"]["loss_power"] == 30
    minimum = minimum_set(model, clean, rounds=1).metadata["parameters"]
    assert set(minimum) == {"method", "norm", "rounds", "starts", "clip"}
    other = prototypes(20.0, seed=5).float()
    assert boundary_set(other, clean, max_steps=1).metadata["model"] != facts["model"]


@pytest.mark.parametrize("target", ["random", "each", 0])
def test_targets_do_not_depend_on_chunks(model, clean, target):
    if target == 0:
        clean = clean.subset(model.predict(clean.visible()) != 0)
    whole = boundary_set(model, clean, target=target, seed=3, max_steps=5)
    parts = boundary_set(model, clean, target=target, seed=3, max_steps=5, chunk=3)
    assert torch.equal(whole.facts["target"], parts.facts["target"])
    assert (whole.facts["target"] != whole.facts["top"]).all()
    if target == "each":
        assert len(whole) == 2 * len(clean)
        assert torch.equal(whole.facts["source"], torch.arange(11).repeat_interleave(2))
        pairs = whole.facts["target"].reshape(-1, 2)
        assert (pairs[:, 0] != pairs[:, 1]).all()
        assert torch.equal(whole.labels, clean.labels.repeat_interleave(2))


def test_rubbish_is_labelled_with_its_class(model, tmp_path):
    made = rubbish_set(model, [2, 0], tmp_path / "r.npz", shape=(4, 3), per_class=3, step=0.05)
    assert made.labels.tolist() == [2, 2, 2, 0, 0, 0]
    assert made.n_classes == 3
    assert made.facts["success"].all()
    assert same(data.load(tmp_path / "r.npz"), made)
    assert made.facts["source"].tolist() == [0, 1, 2, 0, 1, 2]
    for chunk in (1, 4, 7):  # whole classes, whatever the chunk
        parts = rubbish_set(model, [2, 0], shape=(4, 3), per_class=3, step=0.05, chunk=chunk)
        torch.testing.assert_close(parts.images, made.images)


def test_an_attack_set_holds_one_size_after_the_other(model, clean, tmp_path):
    sizes = [0, 0.1, 0.3]
    made = attack_set(model, clean, "fgsm", sizes, tmp_path / "a.safetensors", chunk=4)
    assert made.facts["eps"].tolist() == [size for size in sizes for _ in range(11)]
    assert torch.equal(made.images[:11].flatten(1), clean.visible())
    found = sign_gradient(model, clean.visible(), clean.labels, 0.3)
    torch.testing.assert_close(made.images[22:].flatten(1), found.images)
    assert made.facts["success"][:11].nonzero().tolist() == [[2]]  # wrong from the beginning
    assert torch.equal(made.labels, clean.labels.repeat(3))
    for method in ("bim", "llc"):
        other = attack_set(model, clean, method, 0.3, steps=4)
        assert other.metadata["parameters"]["steps"] == 4
        assert float(other.facts["linf"].max()) == pytest.approx(0.3, abs=1e-6)


def test_other_modules_make_sets_too(clean):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    made = boundary_set(module, clean, input_shape=(1, 4, 3), step=0.05, max_steps=500)
    assert made.facts["success"].all()
    assert made.metadata["scores"] == "outputs of the module"
    assert made.shape == (4, 3)
    made = rubbish_set(module, shape=(4, 3), input_shape=(1, 4, 3), max_steps=5)
    assert made.labels.tolist() == [0, 1, 2]


# ---- interruptions -------------------------------------------------------------------------------


class Stopped(KeyboardInterrupt):
    """Ctrl-C at a known moment."""


def test_finished_chunks_outlive_ctrl_c_and_are_not_made_again(model, clean, tmp_path):
    out, calls = tmp_path / "b.safetensors", []

    def stop_in_the_third_chunk(done, total):
        assert total == 11
        if done > 7:
            raise Stopped

    with pytest.raises(Stopped):
        boundary_set(model, clean, out, chunk=3, step=0.05, on_progress=stop_in_the_third_chunk)
    assert not out.exists()
    parts = sorted(p.name for p in (tmp_path / "b.safetensors.parts").glob("0*"))
    assert parts == ["00000000-00000003.safetensors", "00000003-00000006.safetensors"]

    made = boundary_set(
        model, clean, out, chunk=3, step=0.05, on_progress=lambda done, _: calls.append(done)
    )
    assert calls[:2] == [3, 6], "finished chunks were made again"
    assert same(made, boundary_set(model, clean, chunk=3, step=0.05))
    assert same(data.load(out), made)
    assert not (tmp_path / "b.safetensors.parts").exists()


def test_a_set_that_is_there_is_read_and_nothing_else(model, clean, tmp_path):
    out = tmp_path / "b.npz"
    made = boundary_set(model, clean, out, step=0.05)
    stamp = out.stat().st_mtime_ns
    assert same(boundary_set(model, clean, out, step=0.05), made)
    assert out.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("other", [{"step": 0.1}, {"target": "least"}, {"keep": ["before"]}])
def test_another_set_in_the_same_place_is_refused(model, clean, tmp_path, other):
    out = tmp_path / "b.safetensors"
    boundary_set(model, clean, out, step=0.05)
    with pytest.raises(RunFolderError, match="made otherwise"):
        boundary_set(model, clean, out, **{"step": 0.05, **other})


def test_a_rubbish_set_of_other_names_or_of_another_shape_is_another_set(model, tmp_path):
    out = tmp_path / "r.npz"
    made = rubbish_set(model, out=out, shape=(4, 3), class_names=("a", "b", "c"), max_steps=3)
    again = rubbish_set(model, out=out, shape=(4, 3), class_names=("a", "b", "c"), max_steps=3)
    assert same(made, again)
    for other in ({"shape": (3, 4)}, {"shape": (4, 3), "class_names": ("a", "b", "d")}):
        with pytest.raises(RunFolderError):
            rubbish_set(model, out=out, max_steps=3, **{"class_names": ("a", "b", "c"), **other})


def test_parts_of_another_set_are_refused(model, clean, tmp_path):
    out = tmp_path / "b.safetensors"

    def stop(done, total):
        if done > 4:
            raise Stopped

    with pytest.raises(Stopped):
        boundary_set(model, clean, out, chunk=3, step=0.05, on_progress=stop)
    with pytest.raises(RunFolderError, match="parts of another set"):
        boundary_set(prototypes(3.0).float(), clean, out, chunk=3, step=0.05)


def test_a_damaged_part_is_made_again(model, clean, tmp_path):
    out = tmp_path / "b.safetensors"

    def stop(done, total):
        if done > 7:
            raise Stopped

    with pytest.raises(Stopped):
        boundary_set(model, clean, out, chunk=3, step=0.05, on_progress=stop)
    part = tmp_path / "b.safetensors.parts" / "00000000-00000003.safetensors"
    part.write_bytes(part.read_bytes()[:-40])
    assert same(
        boundary_set(model, clean, out, chunk=3, step=0.05),
        boundary_set(model, clean, chunk=3, step=0.05),
    )


def test_two_processes_do_not_make_the_same_set(model, clean, tmp_path):
    from filelock import FileLock

    folder = tmp_path / "b.safetensors.parts"
    folder.mkdir()
    with FileLock(folder / ".lock"), pytest.raises(RunFolderError, match="another process"):
        boundary_set(model, clean, tmp_path / "b.safetensors")


@pytest.mark.slow
def test_kill_9_costs_at_most_the_chunk_at_work(tmp_path):
    code = (
        "import sys, torch; sys.path.insert(0, sys.argv[2])\n"
        "from tests.descent.small import images, prototypes\n"
        "from denseam.data import ImageSet\n"
        "from denseam.descent import boundary_set\n"
        "model, v = prototypes(20.0).float(), images(300, 12, torch.float32)\n"
        "clean = ImageSet(v.reshape(-1, 4, 3), model.predict(v), 3)\n"
        "boundary_set(model, clean, sys.argv[1], chunk=10, step=0.002, max_steps=300)\n"
    )
    root = str(Path(__file__).parents[2])

    def start(out):
        return subprocess.Popen([sys.executable, "-c", code, os.fspath(out), root])

    assert start(tmp_path / "whole.safetensors").wait() == 0
    out, killed = tmp_path / "killed.safetensors", 0
    while not out.exists():
        process = start(out)
        before = len(list(tmp_path.glob("killed.safetensors.parts/0*.safetensors")))
        while process.poll() is None:
            time.sleep(0.02)
            now = len(list(tmp_path.glob("killed.safetensors.parts/0*.safetensors")))
            if killed < 3 and now >= before + 4:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
    assert killed == 3
    assert same(data.load(out), data.load(tmp_path / "whole.safetensors"))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, c, t: boundary_set(m, c, t / "b.txt"), "safetensors or .npz"),
        (lambda m, c, t: boundary_set(m, c, keep=["after"]), "keep"),
        (lambda m, c, t: boundary_set(m, c, chunk=0), "chunk"),
        (lambda m, c, t: boundary_set(m, c, clip=False), "clip"),
        (lambda m, c, t: boundary_set(m, c, input_shape=(5,)), "input_shape"),
        (lambda m, c, t: attack_set(m, c, "pgd", 0.1), "method"),
        (lambda m, c, t: attack_set(m, c, "fgsm", [-0.1]), "eps"),
        (lambda m, c, t: attack_set(m, c, "fgsm", []), "eps"),
        (lambda m, c, t: rubbish_set(m, [], shape=(4, 3)), "classes"),
        (lambda m, c, t: rubbish_set(m, [7], shape=(4, 3)), "classes"),
        (lambda m, c, t: rubbish_set(m, shape=(4, 4)), "pixels"),
        (lambda m, c, t: rubbish_set(m, shape=(-4, -3)), "shape = -4: wanted a whole number >= 1"),
        (lambda m, c, t: rubbish_set(m, shape=(4, 3), noise=float("inf")), "noise = inf"),
        (lambda m, c, t: attack_set(m, c, "fgsm", [float("inf")]), "eps = "),
        (lambda m, c, t: attack_set(m, c, "fgsm", 0.1, loss_power=-3), "loss_power = -3"),
        (lambda m, c, t: attack_set(m, c, "bim", 0.1, steps=0), "steps = 0"),
        (lambda m, c, t: rubbish_set(m, shape=(4, 3), per_class=0), "per_class"),
    ],
)
def test_bad_arguments_are_refused(model, clean, tmp_path, call, words):
    with pytest.raises(InputError, match=words):
        call(model, clean, tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_reason_has_a_number_in_the_metadata(model, clean):
    assert boundary_set(model, clean, max_steps=1).metadata["stopped"] == [str(s) for s in Stop]


# ---- several processes ---------------------------------------------------------------------------


def together(count, call):
    """Several at once; open files of one process lock each other out as those of several do."""
    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(call) for _ in range(count)]]


def test_several_share_the_parts_of_a_set_and_all_get_it(model, clean, tmp_path, monkeypatch):
    alone = boundary_set(model, clean, chunk=2)
    made = []

    def slowly(model, visible, *args, **options):
        made.append(visible)
        time.sleep(0.02)
        return cross_boundary(model, visible, *args, **options)

    monkeypatch.setattr("denseam.descent.sets.cross_boundary", slowly)
    out, told = tmp_path / "set.safetensors", []
    found = together(
        3,
        lambda: boundary_set(
            model, clean, out, chunk=2, shared=True, on_progress=lambda *n: told.append(n)
        ),
    )
    assert all(same(one, alone) for one in found)
    assert len(made) == 6  # parts, each made once
    assert sum(map(len, made)) == len(clean)
    assert told[-1] == (11, 11)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert same(data.load(out), alone)


def test_a_part_that_its_maker_left_undone_is_made_by_another(model, clean, tmp_path, monkeypatch):
    turn = itertools.count()

    def fails_once(model, visible, *args, **options):
        first = next(turn) == 0
        time.sleep(0.05)
        if first:
            raise RuntimeError
        return cross_boundary(model, visible, *args, **options)

    monkeypatch.setattr("denseam.descent.sets.cross_boundary", fails_once)
    out = tmp_path / "set.npz"

    def call():
        try:
            return boundary_set(model, clean, out, chunk=4, shared=True)
        except RuntimeError:
            return None

    found = [one for one in together(2, call) if one is not None]
    assert len(found) == 1
    assert same(found[0], boundary_set(model, clean, chunk=4))


def test_chunks_left_by_a_kill_after_the_set_was_written_go(tmp_path):
    model, out = prototypes(20.0).float(), tmp_path / "set.safetensors"
    first = rubbish_set(model, out=out, shape=(4, 3), per_class=1, max_steps=2)
    left = tmp_path / "set.safetensors.parts"
    left.mkdir()
    (left / "00000000-00000003.safetensors").write_bytes(b"")
    again = rubbish_set(model, out=out, shape=(4, 3), per_class=1, max_steps=2)
    assert again.digest() == first.digest()
    assert not left.exists()
