"""Training as a whole: it learns, says what it did, and calls who wants to know."""

import builtins
import json
import math
from pathlib import Path

import pytest
import torch

import denseam
from denseam import Callback
from denseam.data import Dataset, ImageSet
from denseam.errors import InputError, MissingPackageError
from denseam.mesh import Mesh
from denseam.training import EpochRecord, TensorBoard, keeping
from denseam.training.batches import epoch_indices

from . import nips16
from .small import Stop, StopAt, assert_same_run, dataset, images, recipe, without_seconds

# On 25 pixels n = 20 wants smaller steps than on 784.
LEARNS = [
    recipe(2, 20),
    recipe(20, 40, learning_rate=0.02, learning_rate_decay=0.93, momentum=0.6, n_memories=30),
    recipe(2.5, 20, dtype="float64"),
]


@pytest.mark.filterwarnings("ignore::denseam.DenseAMWarning")  # one image of 60 looks like a spike
@pytest.mark.parametrize("chosen", LEARNS, ids=lambda r: f"n={r.power:g}")
def test_a_tiny_problem_is_learned(chosen):
    result = denseam.train(chosen, dataset())
    first, last = result.records[0], result.records[-1]
    assert first.train_error > 0.1
    assert last.train_error <= 0.02
    assert last.test_error <= 0.05
    assert last.objective < 0.2 * first.objective
    assert denseam.evaluate(result.model, dataset().test).error == last.test_error
    assert result.model.memories.abs().max() <= 1
    assert result.model.temperature == chosen.temperature
    assert result.model.memories.dtype is getattr(torch, chosen.dtype)


def test_a_run_is_the_rule_of_nips16_batch_by_batch_through_the_ramp_and_after():
    one = images(30)  # two batches of 5 of each class
    chosen = recipe(3, 5, dtype="float64", temperature_epochs=3, learning_rate_decay=0.8)
    start = denseam.DenseAM(25, 3, 12, 3, 1.0, seed=chosen.seed, dtype=torch.float64).memories
    rule = nips16.Rule(start.detach().numpy(), chosen.momentum, chosen.temperature, 3)
    visible = one.visible(torch.float64)
    for epoch in range(5):
        fraction = min(epoch / 3, 1)
        T = chosen.temperature_start + fraction * (chosen.temperature - chosen.temperature_start)
        for rows in epoch_indices(one.labels, 3, 5, seed=chosen.seed, epoch=epoch):
            v, labels = visible[rows].numpy(), one.labels[rows].numpy()
            slope, _ = nips16.gradient(v, labels, rule.xi, 3, 3, chosen.loss_power, T)
            rule.step(slope, chosen.learning_rate * 0.8**epoch, T)
    points = denseam.train(chosen, one).model.memories.detach().numpy()
    assert abs(points - rule.xi).max() <= 1e-9 * chosen.learning_rate


def test_records_say_what_happened():
    chosen = recipe(2, 6)
    result = denseam.train(chosen, dataset())
    assert [r.epoch for r in result.records] == list(range(6))
    for record in result.records:
        assert record.temperature == chosen.temperature_at(record.epoch)
        assert record.learning_rate == chosen.learning_rate_at(record.epoch)
        assert len(record.class_errors) == 3
        assert math.isclose(sum(record.class_errors) / 3, record.train_error, abs_tol=1e-12)
        assert 0 <= record.saturated <= 1
        assert 0 <= record.dead_memories <= chosen.n_memories
        assert record.test_error * 30 == pytest.approx(round(record.test_error * 30))
        assert record.seconds > 0
        assert EpochRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert result.recipe == chosen
    assert result.out is None


def test_without_test_images_there_is_no_test_error_and_the_training_is_the_same():
    with_test, without = (denseam.train(recipe(2, 3), x) for x in (dataset(), dataset().train))
    assert [r.test_error for r in without.records] == [None] * 3
    assert torch.equal(with_test.model.memories, without.model.memories)
    other = denseam.train(recipe(2, 3), dataset().train, test=dataset().test)
    assert_same_run(other, with_test)


def test_seeds_decide_everything_random():
    torch.manual_seed(1)
    first = denseam.train(recipe(2, 2, seed=4), dataset())
    torch.manual_seed(2)
    assert_same_run(denseam.train(recipe(2, 2, seed=4), dataset()), first)
    other = denseam.train(recipe(2, 2, seed=5), dataset())
    assert not torch.equal(other.model.memories, first.model.memories)


def test_images_in_visible_units_train_like_their_bytes():
    plain = images()
    floating = ImageSet(plain.visible().view(60, 5, 5), plain.labels, 3)
    one, other = (denseam.train(recipe(2, 3), x) for x in (plain, floating))
    assert_same_run(one, other)


def test_memories_that_see_nothing_are_counted():
    # An off-field of -(sum of class parts) < 0 for all, and two that any image excites.
    from denseam.training.learner import Learner

    learner = Learner(recipe(2, 1), images(), torch.device("cpu"), Mesh())
    learner.memories[:] = 0
    learner.memories[:, 25:] = 0.5  # -1.5 for off, -0.5 for on
    learner.memories[:2, 25:] = -0.5
    assert learner.dead_memories(learner._batch(torch.arange(60), 0, 0)[0]) == 10


class Diary(Callback):
    def __init__(self) -> None:
        self.lines: list[object] = []

    def on_start(self, recipe, records, batches):
        self.lines.append(("start", recipe.epochs, len(records), batches))

    def on_batch(self, epoch, batch):
        self.lines.append(("batch", epoch, batch))

    def on_epoch(self, record):
        self.lines.append(("epoch", record.epoch))

    def on_end(self):
        self.lines.append("end")


def test_callbacks_are_called_in_order(tmp_path):
    diary, other = Diary(), Diary()
    denseam.train(recipe(2, 2), dataset(), tmp_path, callbacks=iter([diary, other]))
    epochs = [[*(("batch", e, b) for b in range(4)), ("epoch", e)] for e in range(2)]
    assert diary.lines == [("start", 2, 0, 4), *epochs[0], *epochs[1], "end"]
    assert other.lines == diary.lines
    again = Diary()
    denseam.train(recipe(2, 2), dataset(), tmp_path, callbacks=[again])
    assert again.lines == [("start", 2, 2, 4), "end"]


def test_the_checkpoint_of_a_slow_epoch_is_on_the_disk_when_on_epoch_is_called(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(keeping, "SHARE", 1)  # no epoch is too quick

    class Look(Callback):
        def on_epoch(self, record):
            assert (tmp_path / "checkpoint.safetensors").exists()
            assert len((tmp_path / "records.jsonl").read_text().splitlines()) == record.epoch + 1

    denseam.train(recipe(2, 2), dataset(), tmp_path, callbacks=[Look()])


def test_a_callback_that_raises_ends_the_run_tells_the_others_and_leaves_it_resumable(tmp_path):
    diary = Diary()
    with pytest.raises(Stop):
        denseam.train(recipe(2, 4), dataset(), tmp_path, callbacks=[StopAt(1), diary])
    assert diary.lines[-1] == "end"
    assert not (tmp_path / "model.safetensors").exists()
    again = Diary()
    resumed = denseam.train(recipe(2, 4), dataset(), tmp_path, callbacks=[again])
    assert again.lines[0] == ("start", 4, 2, 4)
    assert_same_run(resumed, denseam.train(recipe(2, 4), dataset()))


# ---- TensorBoard ------------------------------------------------------------------------------


def read_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    points: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for raw in RawEventFileLoader(str(file)).Load():
            event = Event.FromString(raw)
            for value in event.summary.value:
                points.setdefault(value.tag, []).append((event.step, value.simple_value))
    return points


def test_tensorboard_files_hold_the_records(tmp_path):
    board = tmp_path / "tensorboard"
    with pytest.raises(Stop):
        denseam.train(
            recipe(2, 4), dataset(), tmp_path / "run", callbacks=[TensorBoard(board), StopAt(1)]
        )
    result = denseam.train(
        recipe(2, 4), dataset(), tmp_path / "run", callbacks=[TensorBoard(board)]
    )
    scalars = read_scalars(board)
    assert set(scalars) == {
        "train_error", "test_error", "objective", "temperature", "learning_rate", "saturated",
        "dead_memories", "seconds",
    }  # fmt: skip
    for name in ("train_error", "test_error", "temperature"):
        expected = [(r.epoch, pytest.approx(getattr(r, name))) for r in result.records]
        assert scalars[name] == expected


def test_without_tensorboard_its_callback_says_how_to_install_it(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingPackageError, match=r"pip install 'denseam\[tensorboard\]'"):
        TensorBoard(tmp_path)
    assert list(tmp_path.iterdir()) == []


# ---- what cannot be trained on ------------------------------------------------------------------


def test_a_class_without_examples_is_refused():
    pixels = torch.zeros(4, 5, 5, dtype=torch.uint8)
    gap = ImageSet(pixels, torch.tensor([0, 1, 3, 3]), 5)
    with pytest.raises(InputError, match=r"no example of class 2, 4 \(of 5 classes\)"):
        denseam.train(recipe(), gap)


def test_empty_sets_and_labels_out_of_range_never_become_image_sets():
    with pytest.raises(InputError, match="the set is empty"):
        ImageSet(torch.zeros(0, 5, 5, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64), 3)
    for label in (-1, 3):
        with pytest.raises(InputError, match=r"labels must lie in 0\.\.2"):
            ImageSet(torch.zeros(1, 5, 5, dtype=torch.uint8), torch.tensor([label]), 3)


def test_test_images_of_another_size_or_with_more_classes_are_refused(tmp_path):
    large = ImageSet(torch.zeros(2, 6, 5, dtype=torch.uint8), torch.tensor([0, 1]), 3)
    with pytest.raises(InputError, match=r"6 x 5 = 30 pixels, but the model has n_visible = 25"):
        denseam.train(recipe(), images(), tmp_path / "run", test=large)
    more = ImageSet(torch.zeros(2, 5, 5, dtype=torch.uint8), torch.tensor([0, 3]), 4)
    with pytest.raises(InputError, match="4 classes, but the model has 3"):
        denseam.train(recipe(), images(), tmp_path / "run", test=more)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wrong", [None, "mnist", torch.zeros(3, 25), [1, 2]])
def test_images_of_the_wrong_type_are_refused(wrong):
    with pytest.raises(InputError, match=f"ImageSet or a Dataset, got {type(wrong).__name__}"):
        denseam.train(recipe(), wrong)


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [("recipe", {"power": 2}), ("recipe", None), ("test", torch.zeros(3, 25)), ("test", "mnist")],
)
def test_arguments_of_the_wrong_type_are_named(argument, wrong):
    arguments = {"recipe": recipe(), "images": images(), argument: wrong}
    with pytest.raises(InputError, match=f"{argument}: wanted .*, got {type(wrong).__name__}"):
        denseam.train(**arguments)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="warp"):
        denseam.train(recipe(), images(), device="warp")


def test_a_dataset_whose_parts_differ_is_refused():
    large = ImageSet(torch.zeros(2, 6, 5, dtype=torch.uint8), torch.tensor([0, 1]), 3)
    with pytest.raises(InputError, match="shape differs"):
        Dataset("odd", images(), large)


def test_a_run_of_one_image_per_class_and_a_run_of_large_batches_work():
    for chosen in (recipe(2, 3, per_class=1), recipe(2, 3, per_class=40)):
        result = denseam.train(chosen, images(3))
        assert len(without_seconds(result.records)) == 3
        assert result.model.memories.isfinite().all()
