"""The whole study on tiny models: what runs again and when, what it leaves, where numbers stand."""

import html
import json
import shlex
import shutil
from dataclasses import replace

import pytest

from denseam import data
from denseam.cli import parser
from denseam.data import Dataset
from denseam.errors import InputError, RunFolderError
from denseam.files import held_folder
from denseam.study import all_stages, reproduce
from denseam.study.claims import CLAIMS
from denseam.study.findings import Findings, Row
from denseam.study.report.numbers import quantity
from denseam.study.stage import run_stages
from denseam.study.stages import rubbish

from . import small
from .small import Seen

POWERS = (2, 3, 20, 30)
NAMES = [stage.name for stage in all_stages(small.study(2, 30))]


# ---- what depends on what --------------------------------------------------------------------


def ran(study, out):
    """The stages that would run now; each finds nothing but what it was asked for."""

    def asked(stage):
        told = json.dumps([dict(stage.settings), dict(stage.inputs)])
        return replace(stage, run=lambda _: Findings((Row("row", told, 1.0, "denseam bench"),)))

    seen = Seen()
    run_stages([asked(stage) for stage in all_stages(study)], out, seen)
    return seen.ran


def like(*wanted):
    return [name for name in NAMES if any(name.startswith(each) for each in wanted)]


def other_model(study, i=0):
    """One of the memories a little different."""
    model = small.model(study.subjects[i].model.power)
    model.memories.data[3, 4] += 1e-3
    subjects = list(study.subjects)
    subjects[i] = replace(subjects[i], model=model)
    return replace(study, subjects=tuple(subjects))


def other_images(study, part):
    """One pixel a little different."""
    sets = {"train": study.images.train, "test": study.images.test}
    pixels = sets[part].images.clone()
    pixels[7, 2, 2] ^= 1
    sets[part] = replace(sets[part], images=pixels)
    return replace(study, images=Dataset(study.images.name, **sets))


def planned(**changes):
    return lambda study: replace(study, plan=replace(study.plan, **changes))


ALL_BUT_RUBBISH = [n for n in NAMES if not n.startswith("rubbish-n")]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (other_model, [n for n in NAMES if not n.startswith(("rubbish-n30", "boundary-n30"))]),
        (lambda study: other_model(study, 1),
         [n for n in NAMES if not n.startswith(("rubbish-n2-", "boundary-n2"))]),
        (lambda study: other_images(study, "test"), ALL_BUT_RUBBISH),
        (lambda study: other_images(study, "train"), like("memories", "rubbish", "guard")),
        (planned(boundary_images=7), like("boundary", "transfer", "guard")),
        (planned(sign_images=7), like("sign-fgsm")),
        (planned(iterative_images=5), like("sign")),
        (planned(eps=(0.0, 0.2, 0.3, 0.4, 0.5)), like("sign-fgsm")),
        (planned(eps=(0.0, 0.15, 0.3)), like("sign")),
        (planned(rubbish_per_class=3), like("rubbish", "guard")),
        (planned(rubbish_step=0.2), like("rubbish", "guard")),
        (planned(rubbish_max_steps=11), like("rubbish", "guard")),
        (planned(reference_images=21), like("memories")),
        (planned(shown_memories=5), like("memories")),
        (planned(seed=1), like("memories", "confidence", "rubbish", "guard", "audit")),
        (planned(audit_images=4), like("audit")),
        (planned(quick=True), []),
        (lambda study: replace(study, images_source="elsewhere.npz"), []),
        (lambda study: replace(study, images=small.dataset()), []),
    ],
)  # fmt: skip
def test_a_change_runs_only_the_stages_that_depend_on_it(change, wanted, tmp_path):
    study = small.study(2, 30)
    assert ran(study, tmp_path) == NAMES
    assert ran(study, tmp_path) == []
    changed = change(study)
    assert ran(changed, tmp_path) == wanted
    assert ran(changed, tmp_path) == []


def test_one_more_model_leaves_the_sets_of_the_others(tmp_path):
    ran(small.study(2, 30), tmp_path)
    again = ran(small.study(2, 3, 30), tmp_path)
    assert not {name for name in again if name.startswith(("boundary-n2", "boundary-n30"))}
    assert not {name for name in again if name.startswith(("rubbish-n2-", "rubbish-n30"))}
    assert {"boundary-n3", "rubbish-n3-noise-0.1", "transfer", "errors"} <= {*again}


def test_other_seeds_on_a_card_are_other_errors(tmp_path):
    study = small.study(2, 30)
    ran(study, tmp_path)
    run = {"seed": 1, "epochs": 2, "error": 0.1, "n_images": 30, "command": "denseam bench"}
    told = replace(study.subjects[0], card={"seeds": [run]})
    assert ran(replace(study, subjects=(told, study.subjects[1])), tmp_path) == ["errors"]


def test_stage_names_differ_and_stages_need_earlier_ones():
    for study in (small.study(2), small.study(*POWERS)):
        stages = all_stages(study)
        for i, stage in enumerate(stages):
            before = {each.name for each in stages[:i]}
            assert stage.name not in before
            assert {*stage.needs} <= before
            assert stage.expected > 0


# ---- the whole of it -------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def quickly():
    with small.quickly():
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished study of the paper's four powers, on images that are called MNIST."""
    study = replace(small.study(*POWERS, name="mnist"), others=small.others())
    return study, reproduce(study, tmp_path_factory.mktemp("study") / "out", Seen())


@pytest.fixture(scope="module")
def results(whole):
    _, found = whole
    return json.loads((found.out / "results.json").read_text())


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def without_times(value):
    """A JSON value less when, how long, whether it was there already, and the sum of all that."""
    if isinstance(value, dict):
        dropped = ("seconds", "finished", "reused", "date", "sha256")
        return {k: without_times(v) for k, v in value.items() if k not in dropped}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def content(path):
    return (
        without_times(json.loads(path.read_text())) if path.suffix == ".json" else path.read_bytes()
    )


def test_a_study_leaves_results_page_and_pictures(whole, results):
    _, found = whole
    wanted = ["report.html", "results.json", "results.md"]
    wanted += [figure["file"] for figure in results["figures"]]
    for name, outcome in found.outcomes.items():
        own = ("stage.json", *outcome.findings.files)
        wanted += [f"stages/{name}/{file}" for file in own]
    assert files_of(found.out) == sorted(found.out / file for file in wanted)
    assert found.report == found.out / "report.html"
    for figure in results["figures"]:
        own = found.outcomes[figure["stage"]]
        (file,) = (f.file for f in own.findings.figures if f.id == figure["id"])
        assert (found.out / figure["file"]).read_bytes() == (own.folder / file).read_bytes()
    assert results == json.loads(json.dumps(found.results))


def test_a_second_study_runs_nothing_and_has_the_same_results(whole, results):
    study, found = whole
    before = {path: path.stat().st_mtime_ns for path in (found.out / "stages").rglob("*")}
    seen = Seen()
    again = reproduce(study, found.out, seen)
    assert (seen.ran, seen.reused) == ([], [stage.name for stage in all_stages(study)])
    assert {event[0] for event in seen.events} == {"end"}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert without_times(json.loads(json.dumps(again.results))) == without_times(results)
    assert all(stage["reused"] for stage in again.results["stages"])


# ---- deleted and damaged files ---------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(whole, tmp_path_factory):
    """A copy of it that each test leaves whole."""
    study, found = whole
    out = tmp_path_factory.mktemp("study") / "out"
    shutil.copytree(found.out, out)
    return study, out


@pytest.mark.parametrize("name", [stage.name for stage in all_stages(small.study(*POWERS))])
def test_any_file_of_a_stage_that_is_deleted_comes_back(name, kept):
    study, out = kept
    whole = {path: content(path) for path in files_of(out / "stages" / name)}
    assert out / "stages" / name / "stage.json" in whole
    for path in whole:
        path.unlink()
        seen = Seen()
        run_stages(all_stages(study), out, seen)
        assert seen.ran == [name], path.name
        assert {each: content(each) for each in whole} == whole, path.name


def test_any_other_file_that_is_deleted_comes_back_byte_by_byte(kept):
    study, out = kept
    reproduce(study, out, Seen())
    whole = {path: path.read_bytes() for path in files_of(out)}
    others = [path for path in whole if out / "stages" not in path.parents]
    assert len(others) == 3 + len(list((out / "figures").iterdir())) > 10
    for path in others:
        path.unlink()
        seen = Seen()
        reproduce(study, out, seen)
        assert seen.ran == []
        assert {each: each.read_bytes() for each in files_of(out)} == whole, path.name


def test_a_whole_stage_that_is_deleted_comes_back(kept):
    study, out = kept
    whole = {path: content(path) for path in files_of(out / "stages")}
    shutil.rmtree(out / "stages/boundary-n2")
    seen = Seen()
    run_stages(all_stages(study), out, seen)
    assert seen.ran == ["boundary-n2"]
    assert {path: content(path) for path in files_of(out / "stages")} == whole


DAMAGES = [lambda b: b[:-1], lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:], lambda b: b""]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["boundary-n2", "rubbish-n2-noise-0.1"])
def test_a_damaged_set_is_made_again(name, damage, kept):
    study, out = kept
    path = out / "stages" / name / "images.safetensors"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    seen = Seen()
    reproduce(study, out, seen)
    assert seen.ran == [name]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("stage", ["boundary-n2", "rubbish-n2-noise-0.1"])
def test_a_set_is_made_again_where_the_plan_has_changed(stage, tmp_path):
    reproduce(small.study(2), tmp_path, Seen(), [stage])
    (tmp_path / "stages" / stage / "old.png").write_bytes(b"of another plan")
    other = small.study(2, boundary_images=7, rubbish_max_steps=7)
    found = reproduce(other, tmp_path, Seen(), [stage])
    alone = reproduce(other, tmp_path / "alone", Seen(), [stage])
    values = [[row["value"] for row in each.results["rows"]] for each in (found, alone)]
    assert values[0] == values[1]
    assert not (tmp_path / "stages" / stage / "old.png").exists()


def test_other_class_names_are_another_input_of_every_stage():
    one = small.study(2, 30)
    names = ("a", "b", "c")
    renamed = replace(
        one,
        images=Dataset(
            "toy",
            replace(one.images.train, class_names=names),
            replace(one.images.test, class_names=names),
        ),
    )
    for before, after in zip(all_stages(one), all_stages(renamed), strict=True):
        assert before.inputs != after.inputs, before.name


def test_a_model_that_is_never_wrong_has_no_beta_sm_and_stops_nothing(tmp_path):
    study = small.study(2, 30)
    test, subject = study.images.test, study.subjects[1]
    taught = replace(test, labels=subject.model.predict(test.visible()))
    study = replace(study, images=replace(study.images, test=taught))
    found = reproduce(study, tmp_path, Seen(), ["rubbish-transfer"])
    rows = {row["id"] for row in found.results["rows"]}
    assert "confidence/n30/mean-3.2" in rows
    assert "confidence/n30/beta_sm" not in rows
    assert "rubbish-transfer/3.2/n30/n30" in rows
    assert not any(id_.startswith("rubbish-transfer/own") for id_ in rows)
    (table,) = (t for t in found.results["tables"] if t["id"] == "confidence")
    assert table["rows"][1]["cells"][0] is None
    assert [f["id"] for f in found.results["figures"] if f["id"] == "fig6"] == ["fig6"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_picture_is_drawn_again(damage, kept):
    study, out = kept
    path = out / "stages/transfer/fig5.png"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    (out / "figures/fig5.png").write_bytes(damage(whole))
    seen = Seen()
    reproduce(study, out, seen)
    assert seen.ran == ["transfer"]
    assert path.read_bytes() == (out / "figures/fig5.png").read_bytes() == whole


def test_old_pictures_are_removed(kept):
    study, out = kept
    (out / "figures/old.png").write_bytes(b"")
    reproduce(study, out, Seen())
    assert not (out / "figures/old.png").exists()


# ---- where every number stands ---------------------------------------------------------------


COMMANDS = parser()


def parsed(command):
    program, *words = shlex.split(command)
    assert program == "denseam", command
    return COMMANDS.parse_args(words)


def test_every_row_has_a_command_that_the_command_line_takes(results):
    for entry in [*results["rows"], *results["figures"], *results["stages"]]:
        args = parsed(entry["command"])
        if args.command == "reproduce":
            assert args.only == [entry["stage" if "stage" in entry else "name"]]


def test_commands_of_audit_and_rubbish_have_all_settings(results):
    for row in results["rows"]:
        if row["stage"] == "audit":
            assert "--eps 0.2 " in row["command"]
            assert "--seed 0" in row["command"]
    assert rubbish._shape_option((5, 5)) == ()
    assert rubbish._shape_option((4, 5)) == ("--shape", 4, 5)


def test_row_ids_differ_and_cells_and_claims_name_rows(results):
    ids = [row["id"] for row in results["rows"]]
    assert len(ids) == len({*ids}) > 300
    cells = [c for table in results["tables"] for line in table["rows"] for c in line["cells"]]
    named = [cell for cell in cells if isinstance(cell, str)]
    named += [id_ for claim in results["claims"] for id_ in claim["rows"]]
    assert {*named} <= {*ids}
    assert all(cell is None or [*cell] == ["text"] for cell in cells if not isinstance(cell, str))


def test_the_paper_s_models_give_every_row_that_a_claim_is_judged_by(results):
    ids = {row["id"] for row in results["rows"]}
    for claim in CLAIMS:
        found = next(each for each in results["claims"] if each["id"] == claim.id)
        assert found["rows"] == list(claim.rows)
        assert found["beside"] == [id_ for id_ in claim.beside if id_ in ids]
        assert (found["verdict"] == "cannot be compared") == (claim.judge is None)
        assert {*claim.beside} - ids <= {
            f"errors/{name}/mean" for name in ("n2", "n3", "n20", "n30")
        }


def test_rows_are_those_that_the_stages_left(whole, results):
    _, found = whole
    left = []
    for name in found.outcomes:
        listed = json.loads((found.out / "stages" / name / "stage.json").read_text())
        left += [{**row, "stage": name} for row in listed["findings"]["rows"]]
    assert results["rows"] == left


def test_intervals_hold_their_values_and_fractions_are_fractions(results):
    for row in results["rows"]:
        if row["low"] is not None:
            assert row["low"] - 1e-12 <= row["value"] <= row["high"] + 1e-12, row["id"]
        if row["unit"] == "%":
            assert 0 <= row["value"] <= 1, row["id"]


def test_errors_and_transfer_are_what_the_models_do(whole, results):
    study, found = whole
    values = {row["id"]: row["value"] for row in results["rows"]}
    test = study.images.test
    for subject in study.subjects:
        wrong = subject.model.predict(test.visible()) != test.labels
        assert values[f"errors/{subject.name}"] == float(wrong.double().mean())
        for source in study.subjects:
            made = data.load(found.out / f"stages/boundary-{source.name}/images.safetensors")
            wrong = subject.model.predict(made.visible()) != made.labels
            id_ = f"transfer/{source.name}/{subject.name}"
            assert values[id_] == float(wrong.double().mean())
            assert len(made) == study.plan.boundary_images


def test_the_pages_hold_the_numbers_of_the_rows(whole, results):
    _, found = whole
    text = (found.out / "results.md").read_text()
    rows = {row["id"]: row for row in results["rows"]}
    for table in results["tables"]:
        for line in table["rows"]:
            written = next(
                each for each in text.split(f"**{table['title']}.**")[1].splitlines()
                if each.startswith(f"| {line['head']} |")
            )  # fmt: skip
            cells = [cell.strip() for cell in written.strip("|").split("|")]
            for cell, entry in zip(cells[1:], line["cells"], strict=True):
                if isinstance(entry, str):
                    row = rows[entry]
                    number = quantity(row["value"], row["low"], row["high"], row["unit"])
                    assert cell == str(number)


def test_lines_of_every_table_of_the_page_have_the_same_number_of_cells(whole):
    _, found = whole
    blocks = (found.out / "results.md").read_text().split("\n\n")
    tables = [block.strip().splitlines() for block in blocks if block.startswith("|")]
    assert len(tables) > 8
    for lines in tables:
        assert len({line.count("|") - line.count("\\|") for line in lines}) == 1


# ---- parts of it -----------------------------------------------------------------------------


def test_a_chosen_stage_runs_with_the_stages_it_needs(tmp_path):
    seen = Seen()
    found = reproduce(small.study(2, 30), tmp_path / "out", seen, ["transfer"])
    assert seen.ran == ["boundary-n2", "boundary-n30", "transfer"]
    assert {row["stage"] for row in found.results["rows"]} == {*seen.ran}
    assert [figure["id"] for figure in found.results["figures"]] == ["fig5"]
    seen = Seen()
    found = reproduce(small.study(2, 30), tmp_path / "out", seen, ["errors"])
    assert (seen.ran, seen.reused) == (["errors"], [])
    assert [stage["name"] for stage in found.results["stages"]] == [
        "errors", "boundary-n2", "boundary-n30", "transfer",
    ]  # fmt: skip
    assert (tmp_path / "out/figures/fig5.png").exists()


def test_an_unknown_stage_is_refused_before_any_work(tmp_path):
    with pytest.raises(InputError, match=r"no stage transfr, n2; there are errors, memories, rubb"):
        reproduce(small.study(2), tmp_path / "out", Seen(), ["errors", "transfr", "n2"])
    assert not (tmp_path / "out").exists()


def test_two_processes_do_not_work_in_one_folder(kept):
    study, out = kept
    with (
        held_folder(out, "testing"),
        pytest.raises(RunFolderError, match="another process is running a study there"),
    ):
        reproduce(study, out, Seen())


def test_a_quick_study_says_so_on_both_pages(tmp_path):
    study = small.study(2, quick=True)
    found = reproduce(study, tmp_path, Seen(), ["errors"])
    assert found.results["quick_note"] == study.plan.note()
    for page in ("report.html", "results.md"):
        text = " ".join(html.unescape((tmp_path / page).read_text()).split())
        assert "A quick study: 8 boundary images instead of 10,000" in text.replace("\xa0", " ")
    for stage in found.results["stages"]:
        assert parsed(stage["command"]).quick


def test_one_model_alone_can_be_studied(tmp_path):
    found = reproduce(small.study(2.5), tmp_path, Seen(), ["transfer", "rubbish-transfer"])
    assert {"transfer/n2.5/n2.5", "rubbish-transfer/own/n2.5/n2.5"} <= {
        row["id"] for row in found.results["rows"]
    }
