"""What ``predict`` takes: whatever can mean one thing only."""

import numpy as np
import pandas as pd
import pytest
import torch
from tests.training.small import images

import denseam
from denseam.errors import InputError
from denseam.fronts import Pixels, Table
from denseam.inputs import as_inputs

BYTES = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
VISIBLE = torch.from_numpy(BYTES / 127.5 - 1).float().flatten(1)


def model(front=None, n_visible=15):
    return denseam.DenseAM(n_visible, 3, 12, power=4, temperature=20.0, front=front)


@pytest.mark.parametrize(
    "values",
    [
        BYTES, BYTES[:, None], BYTES.reshape(4, 15), torch.from_numpy(BYTES), BYTES.tolist(),
        BYTES.astype(np.int64), BYTES.astype(np.uint16), VISIBLE, VISIBLE.double(),
        VISIBLE.reshape(4, 1, 5, 3).numpy(), VISIBLE.tolist(), list(torch.from_numpy(BYTES)),
    ],
)  # fmt: skip
def test_batches_mean_the_same_in_every_form(values):
    inputs = model().as_inputs(values)
    torch.testing.assert_close(inputs, VISIBLE, atol=1e-6, rtol=0)
    assert torch.equal(model().predict(values), model().predict(VISIBLE))


@pytest.mark.parametrize(
    "one", [BYTES[0], BYTES[0].ravel(), VISIBLE[0], BYTES[:1], VISIBLE[0].tolist()]
)
def test_one_image_is_a_batch_of_one(one):
    assert torch.equal(model().predict(one), model().predict(VISIBLE[:1]))
    assert model().explain(one).predicted.label == int(model().predict(VISIBLE[:1]))


def test_half_precision_black_and_white_and_sets():
    assert torch.equal(model().predict(VISIBLE.half()), model().predict(VISIBLE.half().float()))
    black = BYTES > 127
    assert torch.equal(
        model().as_inputs(black), torch.from_numpy(2.0 * black - 1).float().flatten(1)
    )
    few = images(4)
    assert torch.equal(model(n_visible=few.n_visible).as_inputs(few), few.visible())


def test_a_shape_that_a_model_knows_must_fit():
    assert as_inputs(BYTES.transpose(0, 2, 1), None, 15).shape == (4, 15)
    with pytest.raises(InputError, match=r"inputs have shape \(4, 3, 5\): wanted .*\(B, 5, 3\)"):
        as_inputs(BYTES.transpose(0, 2, 1), (5, 3), 15)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0] * 15], r"integers 0\.\.0: wanted pixels"),
        ([[0, 1, -1] * 5], r"integers -1\.\.1"),
        ([[300] * 15], r"integers 300\.\.300"),
        (VISIBLE + 3, r"must lie in \[-1, 1\]"),
        (BYTES[:, :4], "must have shape"),
        ("scan.png", "inputs must be an array"),
        (VISIBLE + 0j, "real numbers"),
        (np.zeros((2, 2, 2, 15)), "must have shape"),
    ],
)
def test_doubt_is_an_error(values, message):
    with pytest.raises(InputError, match=message):
        model().predict(values)


def test_colours_come_first_or_last():
    colours = np.random.default_rng(1).integers(0, 256, (2, 6, 4, 3), dtype=np.uint8)
    coloured = model(Pixels((3, 6, 4), (5, 3)))
    first = torch.from_numpy(colours).permute(0, 3, 1, 2)
    expected = coloured.predict(first / 127.5 - 1)
    for values in (colours, first, first.reshape(2, -1), list(colours)):
        assert torch.equal(coloured.predict(values), expected)
    assert torch.equal(coloured.predict(colours[0]), expected[:1])


def test_rows_of_a_table_may_be_a_frame_or_integers():
    rows = np.random.default_rng(2).integers(0, 9, (6, 5))
    front = Table.fit(torch.from_numpy(rows))
    table = model(front, front.n_visible)
    expected = table.predict(torch.from_numpy(rows).float())
    for values in (rows, rows.tolist(), pd.DataFrame(rows), rows.astype(np.uint8)):
        assert torch.equal(table.predict(values), expected)
    assert torch.equal(table.predict(rows[0]), expected[:1])


def test_a_front_of_ones_own_checks_for_itself():
    class Doubled(torch.nn.Module):
        def forward(self, rows):
            return rows.repeat(1, 2)

    assert model(Doubled(), 14).predict(torch.zeros(3, 7)).shape == (3,)


def test_what_a_model_was_trained_on_survives_its_file(tmp_path):
    known = denseam.TrainedOn("shapes train", (5, 3), ("dot", "line", "ring"), beta_sm=4.5)
    saved = model()
    assert saved.trained_on is None
    saved.trained_on = known
    saved.save(tmp_path / "m.safetensors")
    loaded = denseam.load(tmp_path / "m.safetensors")
    assert loaded.trained_on == known
    with pytest.raises(InputError, match=r"wanted .*\(B, 5, 3\)"):
        loaded.predict(BYTES.transpose(0, 2, 1))
