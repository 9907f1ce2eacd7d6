"""transfer: sets made by the other commands against models, as a table, as JSON, as a figure."""

import json
import re
from dataclasses import replace

import pytest
import torch
from PIL import Image
from training import small

import denseam
from denseam import data
from denseam.cli import main
from denseam.data import ImageSet


@pytest.fixture(scope="module")
def made(toy, tmp_path_factory):
    """Two models, and sets of three kinds made against them, in one folder."""
    folder = tmp_path_factory.mktemp("made")
    for power in (2, 8):
        denseam.train(small.recipe(power, epochs=6), small.dataset(), out=folder / f"n{power}")
    for command in (
        f"boundary n2 --dataset {toy} --out b2.safetensors",
        f"boundary n8 --dataset {toy} --count 21 --out b8.npz",
        "rubbish n2 --per-class 3 --max-steps 100 --out r2.npz",
        f"attack n2 --dataset {toy} --method fgsm --eps 0.3 --out a2.npz",
        f"attack n8 --dataset {toy} --method fgsm --eps 0 0.4 --out a8.safetensors",
    ):
        words = [
            str(folder / word) if re.match(r"[a-z]\d", word) else word for word in command.split()
        ]
        assert main(words) == 0
    return folder


@pytest.fixture
def transfer(run, made, monkeypatch):
    """`denseam transfer` in the folder of models and sets."""
    monkeypatch.chdir(made)
    return lambda *words: run("transfer", *words)


@pytest.fixture
def found(transfer):
    """Its JSON: one value, and nothing else."""

    def call(*words):
        code, out, err = transfer(*words, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return call


def mean_confidence(model, images, beta_sm):
    return float(denseam.confidence(denseam.load(model), images.visible(), beta_sm).mean())


def test_errors_are_what_evaluate_says_of_every_pair(found, run, made):
    table = found("n2", "n8/model.safetensors", "--sets", "b8.npz", "b2.safetensors")
    assert table["quantity"] == "error"
    assert table["sources"] == ["n = 8", "n = 2"]
    assert table["victims"] == ["n = 2", "n = 8"]
    assert table["made_against"] == ["n8/model.safetensors", "n2"]
    assert table["sets"] == ["b8.npz", "b2.safetensors"]
    assert table["models"] == ["n2", "n8/model.safetensors"]
    assert table["counts"] == [21, 30]
    assert (table["beta_sm"], table["clean"]) == (None, None)
    for r, file in enumerate(table["sets"]):
        for v, model in enumerate(table["models"]):
            alone = json.loads(run("evaluate", model, "--dataset", file, "--json")[1])
            assert table["values"][r][v] == alone["error"]
            assert table["intervals"][r][v] == alone["error_interval"]
    assert table["values"][1][0] > 0.8, "its own boundary was crossed"
    assert len({value for row in table["values"] for value in row}) == 4


def test_confidences_are_means_at_the_papers_beta_sm(found):
    table = found("n2", "n8", "--sets", "r2.npz", "--confidence")
    assert table["quantity"] == "mean confidence"
    assert table["beta_sm"] == [3.2, 3.2]
    wanted = [mean_confidence(model, data.load("r2.npz"), 3.2) for model in ("n2", "n8")]
    assert table["values"][0] == pytest.approx(wanted, abs=1e-6)
    ((low, high), _) = table["intervals"][0]
    assert low < table["values"][0][0] < high


@pytest.mark.parametrize(("given", "betas"), [((2,), (2, 2)), ((0.5, 40), (0.5, 40))])
def test_beta_sm_is_one_for_all_or_one_for_each(found, given, betas):
    table = found("n2", "n8", "--sets", "r2.npz", "--confidence", "--beta-sm", *given)
    assert table["beta_sm"] == list(betas)
    pairs = zip(("n2", "n8"), betas, strict=True)
    wanted = [mean_confidence(model, data.load("r2.npz"), beta) for model, beta in pairs]
    assert table["values"][0] == pytest.approx(wanted, abs=1e-6)


def test_at_its_own_beta_sm_a_model_is_as_sure_of_clean_images_as_it_is_right(found, toy):
    more = ("n2", "n8", "--sets", "r2.npz", "--clean", "--dataset", toy)
    errors = found(*more)["clean"]
    table = found(*more, "--confidence", "--beta-sm", "own")
    assert errors["sources"] == table["clean"]["sources"] == ["clean"]
    assert table["clean"]["counts"] == [30]
    sure = table["clean"]["values"][0]
    assert sure == pytest.approx([1 - e for e in errors["values"][0]], abs=1e-5)
    assert 0 < errors["values"][0][0] < 0.5
    for v, model in enumerate(("n2", "n8")):
        wanted = mean_confidence(model, data.load("r2.npz"), table["beta_sm"][v])
        assert table["values"][0][v] == pytest.approx(wanted, abs=1e-6)
    without = found("n2", "n8", "--sets", "r2.npz", "--dataset", toy,
                    "--confidence", "--beta-sm", "own")  # fmt: skip
    assert without == {**table, "clean": None}


def test_the_clean_images_are_what_the_models_were_trained_on_unless_told_otherwise(transfer):
    code, _, err = transfer("n2", "--sets", "r2.npz", "--clean")
    assert code == 2
    assert err == (
        "denseam transfer: n2 was trained on 'toy' and does not say where that is: say --dataset\n"
    )
    code, _, err = transfer("n2", "mnist-n2", "--sets", "r2.npz", "--clean")
    assert code == 2
    assert "were trained on different data (n2 on toy, mnist-n2 on mnist train): say --da" in err


def test_an_attack_of_several_sizes_has_a_row_for_each(found, toy):
    table = found("n2", "n8", "--sets", "a8.safetensors", "a2.npz", "--clean", "--dataset", toy)
    assert table["sources"] == ["n = 8, eps 0", "n = 8, eps 0.4", "n = 2"]
    assert table["sets"] == ["a8.safetensors", "a8.safetensors", "a2.npz"]
    assert table["made_against"] == ["n8", "n8", "n2"]
    assert table["counts"] == [30, 30, 30]
    assert table["values"][0] == table["clean"]["values"][0]
    made = data.load("a8.safetensors")
    moved = made.subset(made.facts["eps"] == 0.4)
    error = denseam.evaluate(denseam.load("n8"), moved).error
    assert table["values"][1][1] == error > table["values"][0][1]


def test_sets_of_different_kinds_are_called_by_their_files(found):
    assert found("n2", "n8", "--sets", "b8.npz", "r2.npz")["sources"] == ["b8", "r2"]
    assert found("n2", "--sets", "b2.safetensors", "b8.npz")["sources"] == ["n = 2", "b8"]
    assert found("n8", "--sets", "a8.safetensors", "b8.npz")["sources"] == [
        "a8, eps 0", "a8, eps 0.4", "b8",
    ]  # fmt: skip


def test_two_sets_of_one_model_and_two_of_one_name_stay_apart(found, tmp_path):
    again = tmp_path / "b2.safetensors"
    data.load("b2.safetensors").save(again)
    assert found("n2", "--sets", "b2.safetensors", again)["sources"] == [
        "b2.safetensors", str(again)
    ]  # fmt: skip
    data.load("b2.safetensors").save(tmp_path / "other.npz")
    names = found("n2", "--sets", "b2.safetensors", tmp_path / "other.npz")["sources"]
    assert names == ["b2", "other"]


def test_models_of_one_power_are_called_by_what_was_given(found, tmp_path):
    for name in ("one.safetensors", "sub/one.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        denseam.load("n2").save(tmp_path / name)
    one, other = tmp_path / "one.safetensors", tmp_path / "sub" / "one.safetensors"
    assert found("n2", one, "--sets", "b2.safetensors")["victims"] == ["n2", "one.safetensors"]
    assert found(one, other, "--sets", "b2.safetensors")["victims"] == [str(one), str(other)]
    assert found(".//n2/", one, "--sets", "b8.npz")["victims"] == ["n2", "one.safetensors"]


@pytest.mark.parametrize("metadata", [{}, {"model": "some"}, {"model": {"sha256": 3}, "made_by": 1},
                                      {"made_by": "attack", "parameters": []}])  # fmt: skip
def test_sets_of_other_programs_are_as_good(found, tmp_path, metadata):
    images = replace(small.images(9), metadata=metadata)
    images.save(tmp_path / "mine.npz")
    table = found("n2", "--sets", tmp_path / "mine.npz")
    assert (table["sources"], table["made_against"]) == (["mine"], [None])
    assert table["values"][0][0] == denseam.evaluate(denseam.load("n2"), images).error


def test_a_single_image_is_a_set(found, tmp_path):
    small.images(1).save(tmp_path / "one.npz")
    assert found("n2", "--sets", tmp_path / "one.npz")["counts"] == [1]
    assert found("n2", "--sets", tmp_path / "one.npz", "--confidence")["counts"] == [1]


# ---- for people ----------------------------------------------------------------------------------


def test_the_table_has_every_value_above_its_interval(transfer, found, toy):
    words = ("n2", "n8", "--sets", "b8.npz", "b2.safetensors", "--clean", "--dataset", toy)
    code, out, err = transfer(*words)
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    table = found(*words)
    cells = [re.split(r"\s*│\s*", line.strip("│ ")) for line in out.splitlines() if "│" in line]
    parts = ("sources", "counts", "values", "intervals")
    rows = [row for each in (table, table["clean"]) for row in zip(*map(each.get, parts))]  # noqa: B905
    assert len(cells) == 2 * len(rows)
    for r, (name, count, values, intervals) in enumerate(rows):
        assert cells[2 * r] == [name, f"{count}", *(f"{100 * value:.2f} %" for value in values)]
        wanted = [f"{100 * low:.1f} to {100 * high:.1f}" for low, high in intervals]
        assert [each for each in cells[2 * r + 1] if each] == wanted
    head, *_ = out.splitlines()
    assert head.startswith("error of models (columns) on images made against (rows)")
    assert re.search(r"┃ images ┃ +n = 2 ┃ +n = 8 ┃", out)
    assert "\nbold: made against that model itself\nnext: denseam evaluate n8 " in out


def test_the_table_of_confidences_names_beta_sm(transfer):
    code, out, _ = transfer("n2", "n8", "--sets", "b8.npz", "--confidence", "--beta-sm", 2, 4.25)
    assert code == 0
    assert out.startswith("mean confidence of models")
    assert re.search(r"┃ +beta_sm 2 ┃ +beta_sm 4.25 ┃", out)


def test_nothing_is_bold_where_no_model_meets_its_own_set(transfer):
    assert "bold" not in transfer("n2", "--sets", "b8.npz")[1]


def test_what_was_made_against_a_model_is_bold_in_its_column(transfer, made, monkeypatch):
    from rich.console import Console

    from denseam.cli import transfer as command

    shown = Console(force_terminal=True, width=100, highlight=False, color_system="standard")
    monkeypatch.setattr(command, "stdout", shown)
    with shown.capture() as seen:
        assert transfer("n2", "n8", "--sets", "b8.npz", "b2.safetensors")[0] == 0
    cells = [line.split("│") for line in seen.get().splitlines() if "│" in line]
    bold = [["\x1b[1m" in cell for cell in row[3:5]] for row in cells]
    # Values and intervals take turns; b8 comes first.
    assert bold == [[False, True], [False, False], [True, False], [False, False]]


def test_names_with_brackets_are_printed_as_they_are(transfer, tmp_path):
    small.images(9).save(tmp_path / "a[bold]b.npz")
    code, out, _ = transfer("n2", "--sets", tmp_path / "a[bold]b.npz")
    assert code == 0
    assert "a[bold]b" in out


# ---- the figure ----------------------------------------------------------------------------------


def size_of(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        picture.load()  # all of it
        assert len(picture.convert("L").getcolors(1 << 20)) > 2, "nothing was drawn"
        return picture.size


def test_the_figure_is_a_whole_png_with_a_row_for_each_set(transfer, toy, tmp_path):
    few, many = tmp_path / "few.png", tmp_path / "many.png"
    code, out, err = transfer("n2", "n8", "--sets", "b8.npz", "--figure", few)
    assert (code, err) == (0, "")
    assert f"\nfigure in {few}\nnext: denseam evaluate n8 " in out
    more = ("--clean", "--dataset", toy, "--confidence", "--figure", many, "--json")
    code, out, err = transfer("n2", "n8", "--sets", "b8.npz", "b2.safetensors", "r2.npz", *more)
    assert (code, err) == (0, "")
    json.loads(out)
    assert size_of(many)[1] > size_of(few)[1]


def test_the_record_of_the_figure_is_the_table(transfer, found, toy, tmp_path, monkeypatch):
    from denseam.figures import transfer as figure

    records = []
    monkeypatch.setattr(figure, "save", lambda record, path: records.append(record))
    words = ("n2", "n8", "--sets", "b8.npz", "r2.npz", "--clean", "--dataset", toy)
    table = found(*words, "--figure", tmp_path / "f.png")
    (record,) = records
    assert record.quantity == "error"
    assert record.table.to_json() == {key: table[key] for key in record.table.to_json()}
    assert record.clean.to_json() == table["clean"]
    assert record.samples.shape == (2, 4, 5, 5)
    sets = [data.load(file) for file in ("b8.npz", "r2.npz")]
    for shown, images in zip(record.samples, sets, strict=True):
        at = [0, len(images) // 4, len(images) // 2, len(images) * 3 // 4]
        step = len(images) // 4
        assert at[1] == step
        wanted = torch.stack([images.images[i * step] for i in range(4)])
        assert torch.equal(shown, wanted)


def test_samples_of_bytes_are_in_visible_units_and_no_more_than_there_are(
    transfer, tmp_path, monkeypatch
):
    from denseam.figures import transfer as figure

    records = []
    monkeypatch.setattr(figure, "save", lambda record, path: records.append(record))
    images = small.images(3)
    images.save(tmp_path / "few.npz")
    assert transfer("n2", "--sets", "b2.safetensors", tmp_path / "few.npz",
                    "--figure", tmp_path / "f.png")[0] == 0  # fmt: skip
    assert records[0].samples.shape == (2, 3, 5, 5)
    assert torch.equal(records[0].samples[1].flatten(1), images.visible())


def test_sets_of_other_shapes_with_as_many_pixels_have_no_samples(transfer, tmp_path):
    images = small.images(9)
    flat = ImageSet(images.images.reshape(9, 1, 25), images.labels, 3)
    flat.save(tmp_path / "flat.npz")
    path = tmp_path / "f.png"
    code, _, err = transfer("n2", "--sets", "b2.safetensors", tmp_path / "flat.npz",
                            "--figure", path)  # fmt: skip
    assert (code, err) == (0, "")
    size_of(path)


def test_names_that_are_long_or_look_like_formulas_can_be_drawn(transfer, tmp_path):
    for name in ("a-very-long-name-of-a-model", "x$_{$"):
        denseam.load("n2").save(tmp_path / name)
    small.images(9).save(tmp_path / "a$_{$b.npz")
    path = tmp_path / "f.png"
    code, _, err = transfer(
        "n2", tmp_path / "a-very-long-name-of-a-model", tmp_path / "x$_{$",
        "--sets", tmp_path / "a$_{$b.npz", "--figure", path,
    )  # fmt: skip
    assert (code, err) == (0, "")
    size_of(path)


def test_names_above_the_columns_of_the_figure_do_not_run_into_each_other(
    transfer, tmp_path, monkeypatch
):
    from denseam.figures import transfer as figure

    records = []
    monkeypatch.setattr(figure, "save", lambda record, path: records.append(record))
    denseam.load("n2").save(tmp_path / "another-model-of-this-power")
    assert transfer("n2", tmp_path / "another-model-of-this-power", "--sets", "b8.npz",
                    "--figure", tmp_path / "f.png")[0] == 0  # fmt: skip
    short, long = records[0].table.victims
    assert short == "n2"
    assert long.replace("\n", "") == "another-model-of-this-power"
    assert max(map(len, long.splitlines())) <= 8


# ---- bad input -----------------------------------------------------------------------------------

BAD = {
    "no sets": ("n2", "the following arguments are required: --sets"),
    "sets of nothing": ("n2 --sets", "--sets: expected at least one argument"),
    "no models": ("--sets r2.npz", "the following arguments are required: MODEL"),
    "an unknown model": ("n2 n3 --sets r2.npz", "no model 'n3': wanted"),
    "a missing set": ("n2 --sets no.npz", "no.npz: no such folder, .npz file or image set file"),
    "an unknown set": ("n2 --sets r2", "no image set is called 'r2'"),
    "a file that is no set": ("n2 --sets TEXT", "text.npz"),
    "a model for a set": ("n2 --sets n2/model.safetensors", "wanted a denseam image set file"),
    "a set for a model": ("b2.safetensors --sets r2.npz", "wanted a denseam model file"),
    "a data set": ("n2 --sets TOY", "is a data set with train and test: wanted an image set"),
    "a set of another size": (
        "n2 --sets r2.npz WIDE", "wide.npz does not fit n = 2: images: images of 6 x 6 = 36 pixels"
    ),
    "a set of more classes": ("n2 --sets MANY", "does not fit n = 2: images: 4 classes"),
    "clean images of another size": (
        "n2 --sets r2.npz --clean --dataset WIDE", "clean does not fit n = 2: "
    ),
    "a beta of no confidence": ("n2 --sets r2.npz --beta-sm 3", "--beta-sm is for --confidence"),
    "a beta of zero": ("n2 --sets r2.npz --confidence --beta-sm 0", "0: wanted a number > 0, or"),
    "a beta of NaN": ("n2 --sets r2.npz --confidence --beta-sm nan", "nan: wanted a number > 0"),
    "an endless beta": ("n2 --sets r2.npz --confidence --beta-sm inf", "inf: wanted a number > 0"),
    "a beta that is a word": ("n2 --sets r2.npz --confidence --beta-sm x", "x: wanted a number"),
    "a beta and own": (
        "n2 n8 --sets r2.npz --confidence --beta-sm own 3", "wanted nothing beside it"
    ),
    "betas of other models": (
        "n2 --sets r2.npz --confidence --beta-sm 3 4", "2 values for 1 models, wanted one for all"
    ),
    "a data set for nothing": ("n2 --sets r2.npz --dataset TOY", "and --scale are for --clean"),
    "a model twice": ("n2 n2 --sets r2.npz", "n2 is given twice"),
    "a set twice": ("n2 --sets r2.npz b8.npz r2.npz", "r2.npz is given twice"),
    "a figure of another kind": ("n2 --sets r2.npz --figure f.gif", "f.gif: wanted a .png or"),
    "a figure in no folder": ("n2 --sets r2.npz --figure no/f.png", "no such folder"),
    "another device": ("n2 --sets r2.npz --device warp", "warp"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_exit_code_2_and_one_clear_line(transfer, toy, tmp_path, what):
    words, wanted = BAD[what]
    (tmp_path / "text.npz").write_text("no set")
    black = torch.zeros(2, 6, 6, dtype=torch.uint8)
    ImageSet(black, torch.tensor([0, 1]), 2).save(tmp_path / "wide.npz")
    ImageSet(black[:, :5, :5], torch.tensor([0, 3]), 4).save(tmp_path / "many.npz")
    names = {"TOY": toy, **{n.upper(): tmp_path / f"{n}.npz" for n in ("text", "wide", "many")}}
    code, out, err = transfer(*(names.get(word, word) for word in words.split()))
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("denseam transfer: ")
    assert wanted in line


def test_a_model_that_no_beta_sm_suits_is_named(transfer, tmp_path):
    images = small.images(9)
    right = denseam.load("n2").predict(images.visible())
    ImageSet(images.images, right, 3).save(tmp_path / "right.npz")
    wrong = (right + 1) % 3
    ImageSet(images.images, wrong, 3).save(tmp_path / "wrong.npz")
    code, out, err = transfer("n2", "--sets", "r2.npz", "--confidence", "--beta-sm", "own",
                              "--dataset", tmp_path / "wrong.npz")  # fmt: skip
    assert (code, out) == (2, "")
    assert err.startswith("denseam transfer: --beta-sm own, n = 2: no beta_sm > 0 ")
