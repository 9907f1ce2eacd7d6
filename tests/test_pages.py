"""Pages of docs/: their code runs, and their tables name what the code has."""

import json
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tests.descent.small import images, prototypes
from tests.pages import run_code, table_of

import denseam
from denseam import descent, energies
from denseam.cli import parser
from denseam.data import ImageSet
from denseam.data.pixels import Scale
from denseam.descent import ATTACKS as TABLE
from denseam.descent import Stop, attack_set, boundary_set, minimum_set, rubbish_set
from denseam.descent.sets import Keep
from denseam.descent.sign import Loss
from denseam.retrieval import DYNAMICS

DOCS = Path(__file__).parents[1] / "docs"
DATA, ATTACKS, PARTS = (DOCS / f"{name}.md" for name in ("data", "attacks", "parts"))
M, C, H, W = 5, 3, 4, 3


def rows(page: Path, name: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    lines = table_of(page, name).splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def code_in(cells: list[str]) -> list[str]:
    """What stands in backticks."""
    return [each for cell in cells for each in re.findall(r"`([^`]+)`", cell)]


def first_column(page: Path, name: str) -> list[str]:
    return code_in([row[0] for row in rows(page, name)])


@pytest.fixture(scope="module")
def model():
    return prototypes(20.0).float()


@pytest.fixture(scope="module")
def clean(model):
    v = images(M, H * W, torch.float32)
    return ImageSet(v.reshape(M, H, W), model.predict(v), C)


# ---- the code ------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to work in. Work is in small pieces: threads would wait for one another."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return tmp_path


def test_the_code_of_the_data_page_runs(place):
    found = run_code(DATA)
    assert found["recipe"].temperature == pytest.approx(25, abs=1)
    assert denseam.Recipe.paper(power=3).temperature == 100
    assert (len(found["tuning"].train), len(found["tuning"].test)) == (1500, 500)
    assert found["result"].records[-1].test_error < 0.4
    assert found["small"].train.class_names[7] == "seven"
    assert found["few"].shape == (14, 14)
    assert (len(found["pictures"]), len(found["split"].test)) == (200, 40)
    assert repr(found["split"].test[7]) in DATA.read_text()
    assert found["table"].digest() == found["same"].digest()
    assert found["bunch"].class_names == found["table"].class_names
    assert found["table"].metadata["notes"][0] in DATA.read_text()
    there = denseam.data.load(place / "train.safetensors")
    assert there.digest() == found["small"].train.digest()
    # Read without denseam, and with it.
    made = found["made"]
    assert list(found["errors"]) == [0, 0.2]
    assert found["errors"][0] < found["errors"][0.2]
    assert (found["reasons"] == "max_steps").all()
    assert np.array_equal(found["l2"], made.facts["l2"].numpy())
    assert found["about"]["metadata"] == found["about_npz"]["metadata"] == made.metadata


def test_the_code_of_the_page_on_parts_runs(place):
    try:
        names = run_code(PARTS)
    finally:
        energies.FUNCTIONS.pop("even", None)  # the page adds it
    assert names["layer"].memories.grad is not None
    loaded = denseam.load(place / "scans.safetensors")
    assert loaded.n_inputs == 200 * 150
    v, exact = names["v"][:2].double(), names["Even"](4)
    assert torch.equal(exact.value(v), v**4)


def test_the_code_of_the_tutorials_runs(place):
    start = run_code(DOCS / "index.md")
    labels = denseam.predict(start["mnist"].test[:5], start["model"]).labels
    assert f"# {labels}\n" in (DOCS / "index.md").read_text()
    run_code(DOCS / "tutorials" / "first_look.md")
    assert (place / "memories.png").read_bytes()[:4] == b"\x89PNG"
    result = run_code(DOCS / "tutorials" / "own_data.md")["result"]
    assert result.records[-1].test_error < 0.02
    names = run_code(DOCS / "tutorials" / "robust.md")
    right = names["large"].predict(names["crossed"].images) == names["test"].labels
    assert right.float().mean() >= 0.9
    names = run_code(DOCS / "tutorials" / "remember.md")
    assert names["result"].agreement(names["eights"]).mean() > 0.9
    names = run_code(DOCS / "tutorials" / "guard.md")
    assert not names["guard"].predict(torch.rand(20, 28, 28)).accepted.any()


@pytest.mark.filterwarnings("ignore::denseam.DenseAMWarning")  # its classifier has not learned
def test_the_code_about_guarding_a_classifier_runs():
    assert run_code(DOCS / "howto" / "guard_my_classifier.md")["guard"]


def test_the_page_about_predictions_runs():
    names = run_code(DOCS / "predict.md")
    assert names["result"].labels.tolist() == [7, 2, 1, 0, 4]
    assert names["page"].shape == (1, 3)


def test_the_code_of_the_page_on_memories_runs(place):
    names = run_code(DOCS / "memory.md")
    assert (place / "eights.png").read_bytes()[:4] == b"\x89PNG"
    assert names["result"].agreement(names["eights"]).mean() > 0.97
    assert names["held"].alpha == pytest.approx(0.138, rel=0.2)
    for domain, dynamics in DYNAMICS.items():
        (row,) = [row for row in rows(DOCS / "memory.md", "domains") if domain in row[0]]
        assert code_in(row[-1:]) == list(dynamics)


def test_the_code_of_the_attack_page_runs(place):
    found = run_code(ATTACKS)
    del TABLE["fade"]  # the page adds it
    assert found["crossed"].success.all()
    assert [len(each) for each in found["two"]] == [10, 10]
    assert found["near"].success.all()
    assert found["near"].images.shape == (10, 784)
    assert found["nearest"].images.shape == (10, 1, 28, 28)
    assert found["progress"][-1] == (20, 20)
    assert found["faded"].metadata["parameters"]["share"] == 0.25
    assert [path.name for path in place.iterdir()] == ["bim.safetensors"]
    assert found["table"].values.shape == (2, 1)
    assert found["table"].values[1, 0] == 0
    assert found["theirs"].facts["success"].all()
    assert found["result"].clean > 0.5
    assert found["result"].headline.accuracy < found["result"].clean


# ---- facts and files -----------------------------------------------------------------------------


MAKERS = {
    "rubbish": lambda m, c: rubbish_set(m, shape=(H, W), per_class=2, max_steps=3),
    "boundary": lambda m, c: boundary_set(m, c, step=0.05),
    "boundary with `keep`": lambda m, c: boundary_set(m, c, step=0.05, keep=get_args(Keep)),
    **{
        name: lambda m, c, name=name, eps=[0, 0.2] if "eps" in attack.parameters else None: (
            attack_set(m, c, name, eps)
        )
        for name, attack in TABLE.items()
    },
}


@pytest.mark.parametrize("kind", MAKERS)
def test_the_table_of_facts_is_what_sets_hold(model, clean, kind):
    made = MAKERS[kind](model, clean)
    sizes = {"M": len(made), "C": C, "H": H, "W": W}
    wanted = {}
    for fact, sets, shape, dtype, *_ in rows(DATA, "facts"):
        if sets == "all" or kind.startswith(sets) or kind in sets.split(", "):
            axes = tuple(sizes[axis] for axis in re.findall("[A-Z]", shape))
            wanted[fact.strip("`")] = (axes, f"torch.{dtype}")
    found = {name: (tuple(v.shape), str(v.dtype)) for name, v in made.facts.items()}
    assert found == wanted
    listed = first_column(DATA, "metadata")
    only_rubbish = code_in([row[0] for row in rows(DATA, "metadata") if row[1] == "rubbish only"])
    left_out = [] if kind == "rubbish" else only_rubbish
    assert set(made.metadata) == set(listed) - set(left_out)


def test_what_the_table_says_of_labels_and_units(model, clean):
    """Who is right at the start, where it went, and that sizes are of pixels in [-1, 1]."""
    wrong = (clean.labels + 1) % C
    other = ImageSet(clean.images, wrong, C)
    for method in ("fgsm", "bim", "llc", "square"):
        made = attack_set(model, other, method, 0.2)
        assert torch.equal(made.facts["top"], wrong)
        if method == "llc":
            assert (made.facts["target"] != clean.labels).all()
        else:
            assert torch.equal(made.facts["target"], wrong)
        moved = (made.images - clean.images).abs().amax(dim=(1, 2)).double()
        torch.testing.assert_close(made.facts["linf"], moved, atol=1e-6, rtol=0)
    near = minimum_set(model, clean)
    assert torch.equal(near.facts["top"], clean.labels)
    assert torch.equal(near.facts["target"], near.facts["predicted"])
    assert near.facts["success"].all()
    crossed = boundary_set(model, other, step=0.05)
    assert torch.equal(crossed.facts["top"], clean.labels)
    assert torch.equal(crossed.labels, wrong)


def test_the_table_of_the_file_is_what_files_hold(model, clean, tmp_path):
    made = attack_set(model, clean, "fgsm", 0.2)
    made.save(tmp_path / "set.safetensors")
    made.save(tmp_path / "set.npz")
    listed = set(first_column(DATA, "json"))
    arrays = {"images", "labels", *(f"fact:{name}" for name in made.facts)}
    with safe_open(tmp_path / "set.safetensors", framework="numpy") as file:
        about = json.loads(file.metadata()["denseam"])
        assert (set(about), set(file.keys())) == (listed, arrays)
    with np.load(tmp_path / "set.npz") as file:
        about_npz = json.loads(file["denseam"].item())
        assert set(file) == {"denseam", *arrays}
    assert set(about_npz) == listed - {"sha256"}
    assert (about["kind"], about["version"]) == ("image set", 1)


# ---- names ---------------------------------------------------------------------------------------


def test_tables_name_what_there_is():
    assert first_column(DATA, "stopped") == [str(reason) for reason in Stop]
    assert first_column(DATA, "scale") == [f'"{name}"' for name in get_args(Scale)]
    assert first_column(ATTACKS, "losses") == [f'"{name}"' for name in get_args(Loss)]
    functions = code_in([cell for row in rows(ATTACKS, "functions") for cell in row[:2]])
    assert {*functions, "minimum_set"} == {name for name in descent.__all__ if name.islower()}
    in_denseam = {name for name in functions if name in denseam.__all__}
    apart = {"square_attack", *(name for name in functions if name.endswith("_set"))}
    assert in_denseam == set(functions) - apart


def test_the_page_has_a_row_for_every_attack():
    """The method of its command, its function, what it does, and its options."""
    assert rows(ATTACKS, "attacks") == [
        [
            f"`{name}`", f"`{attack.function.__name__}`", attack.title,
            ", ".join(f"`{option}`" for option in ("eps", *attack.options)
                      if option in attack.parameters),
        ]
        for name, attack in TABLE.items()
    ]  # fmt: skip


@pytest.mark.parametrize("command", [code_in([row[2]])[0] for row in rows(ATTACKS, "functions")])
def test_commands_are_there(command):
    program, name, *options = command.split()
    out = [] if name == "audit" else ["--out", "set.npz"]
    assert program == "denseam"
    assert parser().parse_args([name, "mnist-n2", *options, *out]).command == name


@pytest.mark.parametrize("page", [DATA, ATTACKS], ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]+))?\)", page.read_text())
    assert links
    for file, anchor in links:
        heads = re.findall(r"^#+ (.+)$", (DOCS / file).read_text(), re.MULTILINE)
        names = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
        assert not anchor or anchor in names, (file, anchor)
