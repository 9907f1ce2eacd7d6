"""Run folders: going on where a run stopped, and refusing what cannot be gone on with."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import denseam
from denseam.data import ImageSet
from denseam.errors import (
    DataUnavailableError,
    DenseAMWarning,
    FileFormatError,
    InputError,
    RunFolderError,
    SaveError,
)
from denseam.kernels import Choice, by_name, native
from denseam.training import keeping
from denseam.training.runs import RunFolder

from .small import Callback, Stop, StopAt, assert_same_run, dataset, images, recipe

needs_c = pytest.mark.skipif(native.library() is None, reason="the C kernels are not installed")

RECIPE = recipe(3, 6)  # the ramp ends after epoch 3


@pytest.fixture(scope="module")
def whole():
    """What an uninterrupted run gives."""
    return denseam.train(RECIPE, dataset())


def interrupted(folder, *stops):
    for stop in stops:
        with pytest.raises(Stop):
            denseam.train(RECIPE, dataset(), folder, callbacks=[StopAt(*stop)])
    return folder


@pytest.fixture
def begun(tmp_path):
    """The folder of a run that was stopped after three of its six epochs."""
    return interrupted(tmp_path / "run", (2,))


def snapshot(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}


@pytest.mark.parametrize(
    "stops",
    [[(0, 0)], [(0,)], [(2, 3)], [(5,)], [(5, 3)], [(1,), (1 + 1, 0), (4, 2), (4,)]],
    ids=str,
)
@pytest.mark.parametrize("share", [1e-9, 1], ids=["epochs wait", "none waits"])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, monkeypatch, whole, stops, share):
    monkeypatch.setattr(keeping, "SHARE", share)
    interrupted(tmp_path, *stops)
    result = denseam.train(RECIPE, dataset(), tmp_path)
    assert_same_run(result, whole)
    saved = denseam.load(tmp_path)
    assert torch.equal(saved.memories, whole.model.memories)
    assert (saved.power, saved.temperature) == (RECIPE.power, RECIPE.temperature)
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(6))


def test_a_finished_run_is_not_trained_again(tmp_path, whole):
    first = denseam.train(RECIPE, dataset(), tmp_path)
    before = snapshot(tmp_path)
    assert denseam.train(RECIPE, dataset(), str(tmp_path)).records == first.records
    assert snapshot(tmp_path) == before
    assert_same_run(first, whole)


def test_an_unfinished_run_is_not_loaded_as_a_model(begun):
    with pytest.raises(DataUnavailableError, match="has not finished"):
        denseam.load(begun)


def test_the_run_folder_says_what_the_run_is(begun):
    facts = json.loads((begun / "run.json").read_text())
    assert denseam.Recipe.from_json(facts["recipe"]) == RECIPE
    assert facts["data"] == {"name": "toy", "digest": images().digest()}
    assert facts["environment"]["threads"] == torch.get_num_threads()
    assert not list(begun.glob(".*.*")), "temporary files left behind"


# ---- what a crash leaves -------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_half_a_record_at_the_end_is_dropped(begun, whole, cut):
    lines = (begun / "records.jsonl").read_text().splitlines(keepends=True)
    (begun / "records.jsonl").write_text("".join(lines) + lines[-1].replace("2", "3", 1)[:cut])
    assert_same_run(denseam.train(RECIPE, dataset(), begun), whole)


def test_a_record_without_its_checkpoint_is_dropped(begun, whole):
    lines = (begun / "records.jsonl").read_text().splitlines(keepends=True)
    more = json.dumps({**json.loads(lines[-1]), "epoch": 3, "objective": 77.0}) + "\n"
    (begun / "records.jsonl").write_text("".join(lines) + more)
    assert_same_run(denseam.train(RECIPE, dataset(), begun), whole)


def test_records_without_any_checkpoint_start_again(begun, whole):
    (begun / "checkpoint.safetensors").unlink()
    assert_same_run(denseam.train(RECIPE, dataset(), begun), whole)


@pytest.mark.parametrize("damage", ["missing", "first line garbled", "cut in the middle", "binary"])
def test_records_that_lack_an_epoch_of_the_checkpoint_are_an_error(begun, damage):
    path = begun / "records.jsonl"
    text = path.read_bytes()
    match damage:
        case "missing":
            path.unlink()
        case "first line garbled":
            path.write_bytes(b"{" + text)
        case "cut in the middle":
            path.write_bytes(text[: len(text) // 2])
        case "binary":
            path.write_bytes(bytes(range(256)))
    before = snapshot(begun)
    with pytest.raises(FileFormatError, match=r"records\.jsonl has [01] whole records, .*epoch 3"):
        denseam.train(RECIPE, dataset(), begun)
    assert snapshot(begun) == before


# ---- damaged and foreign files -------------------------------------------------------------------


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def garble_header(path):
    path.write_bytes(b"\xff" * 16 + path.read_bytes()[16:])


def pickle_of_torch(path):
    torch.save({"memories": torch.zeros(2)}, path)


def a_model(path):
    denseam.DenseAM(25, 3, 12, 3, 1.0).save(path)


def other_sizes(path):
    from denseam.files import save_tensors

    tensors = {"memories": torch.zeros(2, 28), "velocity": torch.zeros(2, 28)}
    save_tensors(path, "checkpoint", tensors, {"epochs": 3})


def no_velocity(path):
    from denseam.files import save_tensors

    save_tensors(path, "checkpoint", {"memories": torch.zeros(12, 28)}, {"epochs": 3})


def no_epochs(path):
    from denseam.files import save_tensors

    tensors = {"memories": torch.zeros(12, 28), "velocity": torch.zeros(12, 28)}
    save_tensors(path, "checkpoint", tensors, {})


DAMAGES = [
    truncate, empty, garble_header, pickle_of_torch, a_model, other_sizes, no_velocity, no_epochs,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_a_damaged_checkpoint_is_an_error_that_names_it_and_nothing_is_lost(begun, damage):
    damage(begun / "checkpoint.safetensors")
    before = snapshot(begun)
    with pytest.raises(FileFormatError, match=r"checkpoint\.safetensors") as caught:
        denseam.train(RECIPE, dataset(), begun)
    assert "\n" not in str(caught.value)
    assert snapshot(begun) == before


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "{}", '{"recipe": {}}', '{"recipe": 3, "data": {}}', "\xff\xfe",
        '{"recipe": {"power": -1}, "data": {"digest": ""}}',
    ],
)  # fmt: skip
def test_a_damaged_run_json_is_an_error_that_names_it(begun, text):
    (begun / "run.json").write_text(text, encoding="latin-1")
    before = snapshot(begun)
    with pytest.raises(FileFormatError, match=r"run\.json"):
        denseam.train(RECIPE, dataset(), begun)
    assert snapshot(begun) == before


@pytest.mark.parametrize("missing", ["recipe", "data", "environment"])
def test_a_run_json_that_lacks_a_part_is_an_error_that_names_it(begun, missing):
    facts = json.loads((begun / "run.json").read_text())
    del facts[missing]
    (begun / "run.json").write_text(json.dumps(facts))
    with pytest.raises(FileFormatError, match=rf"run\.json.*{missing}"):
        denseam.train(RECIPE, dataset(), begun)


def test_a_checkpoint_without_run_json_is_not_overwritten(begun):
    (begun / "run.json").unlink()
    before = snapshot(begun)
    with pytest.raises(RunFolderError, match=r"no run\.json: choose another folder"):
        denseam.train(RECIPE, dataset(), begun)
    assert snapshot(begun) == before


# ---- folders of others ---------------------------------------------------------------------------


def test_the_folder_of_another_recipe_is_refused_with_what_differs(begun, whole):
    before = snapshot(begun)
    with pytest.raises(RunFolderError, match=r"momentum: 0.9 there, 0.5 here; seed: 0 there, 1 he"):
        denseam.train(RECIPE.replace(momentum=0.5, seed=1), dataset(), begun)
    assert snapshot(begun) == before
    assert_same_run(denseam.train(RECIPE, dataset(), begun), whole)


def test_the_folder_of_other_data_is_refused(begun):
    before = snapshot(begun)
    one = images()
    changed = one.images.clone()
    changed[0, 0, 0] ^= 1
    for other in (ImageSet(changed, one.labels, 3), images(60, seed=9), images(57)):
        with pytest.raises(RunFolderError, match="data: toy there, not the images given here"):
            denseam.train(RECIPE, other, begun)
    assert snapshot(begun) == before


def test_a_run_that_must_not_be_resumed_is_refused(begun, tmp_path):
    before = snapshot(begun)
    with pytest.raises(RunFolderError, match="already holds a run: resume it, or choose another"):
        denseam.train(RECIPE, dataset(), begun, resume=False)
    assert snapshot(begun) == before
    denseam.train(RECIPE, dataset(), tmp_path / "new", resume=False)


def test_a_folder_in_use_is_refused(tmp_path, whole):
    class Intrude(Callback):
        def on_batch(self, epoch, batch):
            if (epoch, batch) == (2, 1):
                with pytest.raises(RunFolderError, match="another process is training there"):
                    denseam.train(RECIPE, dataset(), tmp_path)

    assert_same_run(denseam.train(RECIPE, dataset(), tmp_path, callbacks=[Intrude()]), whole)


def test_a_folder_held_by_another_process_is_refused_until_that_ends(begun, whole):
    hold = (
        "import sys; from pathlib import Path; from denseam.training.runs import RunFolder\n"
        f"with RunFolder(Path({str(begun)!r})).locked():\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(RunFolderError, match="another process is training there"):
            denseam.train(RECIPE, dataset(), begun)
        process.kill()
    assert_same_run(denseam.train(RECIPE, dataset(), begun), whole)


def test_a_folder_that_cannot_be_made_is_a_save_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(SaveError, match="cannot be made"):
            denseam.train(RECIPE, dataset(), out)


def test_going_on_with_another_number_of_threads_is_said(begun, whole):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        with pytest.warns(DenseAMWarning, match=rf"another threads \({threads}, now {threads + 1}"):
            result = denseam.train(RECIPE, dataset(), begun)
    finally:
        torch.set_num_threads(threads)
    assert torch.allclose(result.model.memories, whole.model.memories, atol=1e-2)


def test_the_same_matrix_product_as_before_is_used(begun, monkeypatch):
    from denseam.kernels.products import available_products
    from denseam.training.loop import _Run

    facts = json.loads((begun / "run.json").read_text())
    if facts["environment"]["kernel"] != "cpu":
        pytest.skip("the C kernels are not installed")
    used = []
    monkeypatch.setattr(
        _Run, "_train", lambda run, records: used.append(run.learner.kernel.product)
    )
    for product in available_products():
        facts["environment"]["product"] = product
        (begun / "run.json").write_text(json.dumps(facts))
        denseam.train(RECIPE, dataset(), begun)
    assert used == list(available_products())


def test_half_written_files_of_a_killed_process_are_swept_away(begun, whole):
    for name in (".checkpoint.safetensors.ab12cd", ".run.json.x", ".records.jsonl.y"):
        (begun / name).write_bytes(b"half")
    (begun / ".mine").write_text("of the user")
    assert_same_run(denseam.train(RECIPE, dataset(), begun), whole)
    assert sorted(p.name for p in begun.iterdir()) == [
        ".lock", ".mine", "checkpoint.safetensors", "model.safetensors", "records.jsonl",
        "run.json",
    ]  # fmt: skip


# ---- a full disk ---------------------------------------------------------------------------------


def test_a_save_that_fails_leaves_the_last_checkpoint_and_the_run_goes_on(
    begun, whole, monkeypatch
):
    import denseam.training.runs as module

    monkeypatch.setattr(keeping, "SHARE", 1)
    real = module.save_tensors
    calls = []

    def full(path, kind, tensors, facts):
        calls.append(path)
        if len(calls) == 2:
            raise SaveError(f"{path} could not be written: No space left on device")
        real(path, kind, tensors, facts)

    monkeypatch.setattr(module, "save_tensors", full)
    with pytest.raises(SaveError, match="No space left"):
        denseam.train(RECIPE, dataset(), begun)
    monkeypatch.undo()
    shape = torch.Size((12, 28))
    assert RunFolder(begun).load(shape, torch.float32).epochs == 4
    assert_same_run(denseam.train(RECIPE, dataset(), begun), whole)


@needs_c
def test_8_bit_products_learn_as_well_and_go_on_to_the_same_bits(tmp_path):
    coarse = RECIPE.replace(products="8-bit")
    once = denseam.train(coarse, dataset())
    with pytest.raises(Stop):
        denseam.train(coarse, dataset(), tmp_path / "run", callbacks=[StopAt(2, 1)])
    assert_same_run(denseam.train(coarse, dataset(), tmp_path / "run"), once)
    full = denseam.train(RECIPE, dataset())
    assert not torch.equal(once.model.memories, full.model.memories)
    for one, other in zip(once.records, full.records, strict=True):
        assert one.objective == pytest.approx(other.objective, rel=0.05)


def test_a_run_keeps_its_products(begun):
    with pytest.raises(RunFolderError, match="products: full there, 8-bit here"):
        denseam.train(RECIPE.replace(products="8-bit"), dataset(), begun)


def test_8_bit_products_need_the_c_kernels(monkeypatch):
    monkeypatch.setattr(
        "denseam.training.learner.choose", lambda *_: Choice(by_name("reference"), "none here")
    )
    with pytest.raises(InputError, match="8-bit products need the C kernels on the CPU: none here"):
        denseam.train(RECIPE.replace(products="8-bit"), dataset())


def test_quick_epochs_wait_for_the_checkpoint_of_a_later_one(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(keeping, "SHARE", 1e-9)
    run, killed, shape = tmp_path / "run", tmp_path / "killed", torch.Size((12, 28))

    class Look(Callback):
        def on_epoch(self, record):
            if record.epoch == 4:  # what a process leaves that is killed now
                shutil.copytree(run, killed)

    with pytest.raises(Stop):
        denseam.train(RECIPE, dataset(), run, callbacks=[Look(), StopAt(4)])
    assert RunFolder(killed).load(shape, torch.float32).epochs == 1
    assert RunFolder(run).load(shape, torch.float32).epochs == 5
    for folder in (killed, run):
        assert_same_run(denseam.train(RECIPE, dataset(), folder), whole)


@pytest.mark.skipif(sys.platform != "linux", reason="looks up a file's name in /proc")
def test_a_record_is_on_the_disk_before_its_checkpoint_is(tmp_path, monkeypatch):
    """A power cut between the two may lose the checkpoint, never the record before it."""
    done, real = [], os.fsync

    def watched(descriptor):
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    monkeypatch.setattr(keeping, "SHARE", 1)
    denseam.train(recipe(2, 2), images(), tmp_path)
    kept = [name.removeprefix(".").split(".")[0] for name in done]
    epochs = [name for name in kept if name in ("records", "checkpoint")]
    assert epochs == ["records", *["records", "checkpoint"] * 2]  # the file is made empty first


def test_a_product_that_this_build_does_not_know_is_said(begun, whole):
    facts = json.loads((begun / "run.json").read_text())
    if facts["environment"]["kernel"] != "cpu":
        pytest.skip("the C kernels are not installed")
    was = facts["environment"]["product"]
    facts["environment"]["product"] = "abacus"
    (begun / "run.json").write_text(json.dumps(facts))
    with pytest.warns(DenseAMWarning, match=rf"another product \(abacus, now {was}\) than the run"):
        result = denseam.train(RECIPE, dataset(), begun)
    assert_same_run(result, whole)
