"""Stages: run when something they depend on has changed, and for no other reason."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denseam.errors import InputError
from denseam.study import stage as stages
from denseam.study.findings import Figure, Findings, Row
from denseam.study.stage import Stage, run_stages

from .small import Seen


def writes(name="one", *, needs=(), says=1.0, picture=b"picture", **fields):
    """A stage with a number, a picture and another file."""

    def run(place):
        place.progress(1, 2)
        (place.folder / "fig.png").write_bytes(picture)
        (place.folder / "set").write_text(f"{name} after {[*place.before]}")
        return Findings(
            (Row(f"{name}/row", "number", says, "denseam bench"),),
            figures=(Figure(f"fig-{name}", "fig.png", "Title", "Caption"),),
            other_files=("set",),
        )

    return Stage(name, f"stage {name}", f"denseam reproduce --only {name}", run, needs=needs,
                 **fields)  # fmt: skip


def ran(of, out):
    seen = Seen()
    run_stages(of, out, seen)
    return seen.ran


@pytest.fixture
def chain():
    """one <- two <- three, and beside them four."""
    return [writes("one"), writes("two", needs=("one",)), writes("three", needs=("two",)),
            writes("four")]  # fmt: skip


def test_a_second_call_runs_nothing_and_returns_the_same(chain, tmp_path):
    first = run_stages(chain, tmp_path, Seen())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    seen = Seen()
    second = run_stages(chain, tmp_path, seen)
    assert (seen.ran, seen.reused) == ([], ["one", "two", "three", "four"])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    for name, outcome in second.items():
        assert outcome == replace(first[name], reused=True, seconds=round(first[name].seconds, 2))


def test_an_observer_is_told_in_order(chain, tmp_path):
    one, two, *_ = chain
    run_stages([one], tmp_path, Seen())
    seen = Seen()
    run_stages([one, two], tmp_path, seen)
    assert seen.events == [
        ("end", "one", 1, 2), ("start", "two", 2, 2), ("progress", 1, 2), ("end", "two", 2, 2),
    ]  # fmt: skip


def test_a_stage_gets_its_folder_and_the_stages_before_it(chain, tmp_path):
    run_stages(chain, tmp_path, Seen())
    assert (tmp_path / "stages/two/set").read_text() == "two after ['one']"


@pytest.mark.parametrize(
    "change",
    [
        {"revision": 2},
        {"settings": {"count": 11}},
        {"settings": {"count": 10, "seed": 0}},
        {"settings": {}},
        {"inputs": {"n2": "b"}},
        {"inputs": {"n3": "a"}},
        {"inputs": {"n2": "a", "test": "c"}},
        {"inputs": {}},
    ],
)
def test_a_stage_runs_again_when_an_input_changes(change, tmp_path):
    stage = writes(settings={"count": 10}, inputs={"n2": "a"})
    assert ran([stage], tmp_path) == ["one"]
    changed = replace(stage, **change)
    assert ran([changed], tmp_path) == ["one"]
    assert ran([changed], tmp_path) == []
    assert ran([stage], tmp_path) == ["one"]


def test_settings_are_compared_as_json_has_them(tmp_path):
    ran([writes(settings={"eps": (0.0, 0.5), "count": 1})], tmp_path)
    assert ran([writes(settings={"count": 1, "eps": [0.0, 0.5]})], tmp_path) == []


def test_another_version_of_the_package_runs_everything_again(chain, tmp_path, monkeypatch):
    ran(chain, tmp_path)
    monkeypatch.setattr(stages, "__version__", "99.0")
    assert ran(chain, tmp_path) == ["one", "two", "three", "four"]


def test_titles_commands_and_estimates_are_no_inputs(tmp_path):
    stage = writes(settings={"count": 10})
    ran([stage], tmp_path)
    renamed = replace(stage, title="other", command="denseam bench", expected=99.0)
    found = run_stages([renamed], tmp_path, Seen())["one"]
    assert (found.reused, found.stage.title) == (True, "other")


@pytest.mark.parametrize("change", [{"says": 2.0}, {"picture": b"another"}])
def test_new_findings_or_files_run_the_stages_that_need_them(change, chain, tmp_path):
    ran(chain, tmp_path)
    chain[0] = writes("one", revision=2, **change)
    assert ran(chain, tmp_path)[:2] == ["one", "two"]
    assert ran(chain, tmp_path) == []


def test_a_stage_with_the_same_outcome_runs_no_other_stage(chain, tmp_path):
    ran(chain, tmp_path)
    chain[0] = writes("one", revision=2)
    assert ran(chain, tmp_path) == ["one"]


@pytest.mark.parametrize("needs", [(), ("one", "four")])
def test_a_stage_runs_again_when_it_needs_other_stages(needs, chain, tmp_path):
    one, two, _, four = chain
    ran([one, four, two], tmp_path)
    assert ran([one, four, replace(two, needs=needs)], tmp_path) == ["two"]


def test_a_stage_cannot_need_a_later_one(chain, tmp_path):
    one, two, *_ = chain
    with pytest.raises(InputError, match="stage two needs one before it"):
        run_stages([two, one], tmp_path, Seen())


def test_only_the_chosen_stages_run(chain, tmp_path):
    ran(chain, tmp_path)
    chain[2], chain[3] = replace(chain[2], revision=2), replace(chain[3], revision=2)
    seen = Seen()
    found = run_stages(chain, tmp_path, seen, {"one", "four"})
    assert (seen.ran, seen.reused) == (["four"], ["one"])
    assert [*found] == ["one", "two", "four"]
    assert seen.events[0] == ("end", "one", 1, 2)


def test_stages_left_out_that_have_not_run_are_no_obstacle(chain, tmp_path):
    seen = Seen()
    assert [*run_stages(chain, tmp_path, seen, {"four"})] == ["four"]
    assert seen.ran == ["four"]


# ---- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fig.png", "set", "stage.json"])
@pytest.mark.parametrize("damage", ["deleted", "truncated", "emptied", "changed"])
def test_a_damaged_file_is_restored(name, damage, chain, tmp_path):
    ran(chain, tmp_path)
    path = tmp_path / "stages/two" / name
    whole = path.read_bytes()
    path.unlink()
    damaged = {"truncated": whole[:-2], "emptied": b"", "changed": b"X" + whole[1:]}
    if damage in damaged:
        path.write_bytes(damaged[damage])
    assert ran(chain, tmp_path) == ["two"]
    if name != "stage.json":
        assert (tmp_path / "stages/two" / name).read_bytes() == whole
    assert ran(chain, tmp_path) == []


def test_a_truncated_list_is_not_used(tmp_path):
    stage = writes()
    ran([stage], tmp_path)
    path = tmp_path / "stages/one/stage.json"
    whole = path.read_bytes().rstrip()
    for length in {*range(0, len(whole), 10), len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert ran([stage], tmp_path) == ["one"], f"after {length} bytes"


@pytest.mark.parametrize(
    "value", [None, True, 3, "text", [], ["key"], {}, {"key": None}, {"key": ["one"]}]
)
def test_other_json_is_not_used_as_a_list(value, tmp_path):
    stage = writes()
    ran([stage], tmp_path)
    (tmp_path / "stages/one/stage.json").write_text(json.dumps(value))
    assert ran([stage], tmp_path) == ["one"]


@pytest.mark.parametrize("part", ["key", "files", "findings", "seconds", "finished"])
@pytest.mark.parametrize("value", ["missing", None, [], [3], {"rows": 3}])
def test_a_list_with_a_part_of_another_kind_is_not_used(part, value, tmp_path):
    stage = writes()
    ran([stage], tmp_path)
    path = tmp_path / "stages/one/stage.json"
    listed = json.loads(path.read_text()) | {part: value}
    if value == "missing":
        del listed[part]
    path.write_text(json.dumps(listed))
    assert ran([stage], tmp_path) == ["one"]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        *((part, value) for part in ("rows", "tables", "figures")
          for value in ("missing", None, 3, [3], [{"id": "one"}], [{"nothing": 1}])),
        *(("other_files", value) for value in ("missing", None, 3)),
    ],
)  # fmt: skip
def test_incomplete_findings_are_not_used(part, value, tmp_path):
    stage = writes()
    ran([stage], tmp_path)
    path = tmp_path / "stages/one/stage.json"
    listed = json.loads(path.read_text())
    listed["findings"][part] = value
    if value == "missing":
        del listed["findings"][part]
    path.write_text(json.dumps(listed))
    assert ran([stage], tmp_path) == ["one"]


@pytest.mark.parametrize(
    "change",
    [lambda listed: listed["findings"]["rows"][0].update(value=0.9),
     lambda listed: listed["files"].pop("set"),
     lambda listed: listed.update(seconds=99.0)],
)  # fmt: skip
def test_an_edited_list_is_not_used(change, tmp_path):
    stage = writes()
    ran([stage], tmp_path)
    path = tmp_path / "stages/one/stage.json"
    listed = json.loads(path.read_text())
    change(listed)
    path.write_text(json.dumps(listed))
    assert ran([stage], tmp_path) == ["one"]


def test_deeply_nested_json_is_not_used_as_a_list(tmp_path):
    stage = writes()
    ran([stage], tmp_path)
    (tmp_path / "stages/one/stage.json").write_text(100_000 * "[")
    assert ran([stage], tmp_path) == ["one"]


def test_commands_alone_make_no_other_stage_run(tmp_path):
    """The same numbers from another folder have other commands."""

    def says(command):
        run = lambda _: Findings((Row("row", "number", 1.0, command),))  # noqa: E731
        return Stage("one", "stage", "", run, settings={"command": command})

    two = writes("two", needs=("one",))
    assert ran([says("denseam bench"), two], tmp_path) == ["one", "two"]
    assert ran([says("denseam data"), two], tmp_path) == ["one"]


def test_an_interrupted_stage_continues_only_under_its_key(tmp_path):
    found = []

    def run(place):
        found.append(sorted(path.name for path in place.folder.glob("part*")))
        (place.folder / f"part{len(found)}").touch()
        if len(found) < 4:
            raise KeyboardInterrupt
        return Findings()

    for eps in (1, 1, 2):
        with pytest.raises(KeyboardInterrupt):
            ran([Stage("one", "stage", "", run, settings={"eps": eps})], tmp_path)
    ran([Stage("one", "stage", "", run, settings={"eps": 2})], tmp_path)
    assert found == [[], ["part1"], [], ["part3"]]
    assert not (tmp_path / "stages/one/begun").exists()


def test_the_list_of_another_stage_is_not_used(tmp_path):
    one, two = writes("one"), writes("two")
    ran([one, two], tmp_path)
    shutil.rmtree(tmp_path / "stages/one")
    shutil.copytree(tmp_path / "stages/two", tmp_path / "stages/one")
    assert ran([one, two], tmp_path) == ["one"]


# ---- interruptions ---------------------------------------------------------------------------


def stopping(name="two", **fields):
    """Stopped after the first of two files."""

    def run(place):
        (place.folder / "fig.png").write_bytes(b"half")
        raise KeyboardInterrupt

    return replace(writes(name, **fields), run=run)


def test_an_interruption_leaves_earlier_stages_done(chain, tmp_path):
    one, two, *more = chain
    with pytest.raises(KeyboardInterrupt):
        run_stages([one, stopping(needs=("one",)), *more], tmp_path, Seen())
    assert not (tmp_path / "stages/two/stage.json").exists()
    assert ran([one, two, *more], tmp_path) == ["two", "three", "four"]
    assert (tmp_path / "stages/two/fig.png").read_bytes() == b"picture"


def test_a_rerun_that_is_interrupted_does_not_bring_back_the_old_outcome(chain, tmp_path):
    ran(chain, tmp_path)
    again = [chain[0], stopping(needs=("one",), revision=2)]
    with pytest.raises(KeyboardInterrupt):
        run_stages(again, tmp_path, Seen())
    assert not (tmp_path / "stages/two/stage.json").exists()
    assert ran(chain, tmp_path) == ["two"]


def test_a_stage_without_its_files_is_not_done(tmp_path):
    def run(place):
        return Findings(other_files=("set",))

    with pytest.raises(FileNotFoundError):
        run_stages([replace(writes(), run=run)], tmp_path, Seen())
    assert not (tmp_path / "stages/one/stage.json").exists()


KILLED = """
import sys, time
from pathlib import Path
from denseam.study.findings import Findings, Row
from denseam.study.stage import Stage, run_stages

def run(place):
    with (place.folder / "set").open("w") as file:
        for line in range(3):
            print(place.folder.name, line, file=file, flush=True)
            if place.folder.name == "two" and line == 1:
                print("half", flush=True)
                time.sleep(float(sys.argv[2]))
    return Findings((Row("row", "words", 1.0, "denseam bench"),), other_files=("set",))

class Told:
    def on_start(self, stage, *_): print("start", stage.name, flush=True)
    def on_progress(self, *_): pass
    def on_end(self, *_): pass

names = ("one", "two", "three")
run_stages([Stage(name, name, "denseam bench", run) for name in names], Path(sys.argv[1]), Told())
"""


def test_a_process_killed_within_a_stage_goes_on_with_that_stage(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, "600"], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        told = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGKILL)
    assert told == ["start one\n", "start two\n", "half\n"]
    two = tmp_path / "stages/two"
    assert (two / "set").read_text() == "two 0\ntwo 1\n"
    assert not (two / "stage.json").exists()
    again = subprocess.run(
        [*command, "0"], capture_output=True, text=True, env=environment, check=True
    )
    assert again.stdout == "start two\nhalf\nstart three\n"
    assert (two / "set").read_text() == "two 0\ntwo 1\ntwo 2\n"


# ---- time left -------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """Stages take as long as they are told to; a time of its own."""
    fake = SimpleNamespace(now=1000.0)
    fake.perf_counter = fake.time = lambda: fake.now
    monkeypatch.setattr(stages, "time", fake)
    return fake


def taking(clock, name, seconds, expected, **fields):
    def run(place):
        clock.now += seconds
        return Findings()

    return Stage(name, name, "denseam bench", run, expected=expected, **fields)


def test_time_left_follows_the_pace_so_far_once_it_has_been_seen(clock, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "_PRIOR", 10.0)
    of = [taking(clock, "one", 20.0, 10.0), taking(clock, "two", 40.0, 20.0),
          taking(clock, "three", 10.0, 5.0)]  # fmt: skip
    seen = Seen()
    found = run_stages(of, tmp_path, seen)
    assert seen.left == [35.0, 37.5, 37.5, 8.75, 8.75, 0.0]
    assert [found[name].seconds for name in found] == [20.0, 40.0, 10.0]
    assert found["three"].finished == 1070.0


def test_stages_that_are_up_to_date_do_not_change_the_pace(clock, tmp_path):
    of = [taking(clock, "one", 20.0, 10.0), taking(clock, "two", 5.0, 10.0),
          taking(clock, "three", 5.0, 10.0)]  # fmt: skip
    run_stages(of[:1], tmp_path, Seen())
    seen = Seen()
    run_stages(of, tmp_path, seen)
    assert seen.left == pytest.approx([20.0, 20.0, 65 / 70 * 10, 65 / 70 * 10, 0.0])


@given(
    st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5), st.booleans()), min_size=1, max_size=6)
)
def test_time_left_is_never_negative_and_zero_at_the_end(tmp_path_factory, times):
    with pytest.MonkeyPatch.context() as patch:
        clock = SimpleNamespace(now=0.0)
        clock.perf_counter = clock.time = lambda: clock.now
        patch.setattr(stages, "time", clock)
        of = [taking(clock, str(i), spent, hoped) for i, (spent, hoped, _) in enumerate(times)]
        out = tmp_path_factory.mktemp("out")
        run_stages([of[i] for i, (*_, before) in enumerate(times) if before], out, Seen())
        seen = Seen()
        run_stages(of, out, seen)
    assert min(seen.left) >= 0
    assert seen.left[-1] == 0


# ---- several processes ---------------------------------------------------------------------------


def together(count, call):
    """Several at once; open files of one process lock each other out as those of several do."""
    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(call) for _ in range(count)]]


def slow(stage, log):
    """The same stage, which takes a while and says that it ran."""

    def run(place):
        log.append(stage.name)
        time.sleep(0.05)
        return stage.run(place)

    return replace(stage, run=run)


def test_processes_share_the_stages_and_all_return_all_outcomes(chain, tmp_path):
    log, observers = [], [Seen() for _ in range(3)]
    free = iter(observers)
    shared = [slow(stage, log) for stage in chain]
    found = together(3, lambda: run_stages(shared, tmp_path, next(free)))
    assert sorted(log) == ["four", "one", "three", "two"]  # each once
    assert log.index("one") < log.index("two") < log.index("three")
    for outcomes in found:
        assert [*outcomes] == ["one", "two", "three", "four"]
        assert {o.digest for o in outcomes.values()} == {o.digest for o in found[0].values()}
    for seen in observers:  # each is told of every stage, and of none as of an old one
        ended = [event[1] for event in seen.events if event[0] == "end"]
        assert sorted(ended) == ["four", "one", "three", "two"]
        assert seen.reused == []
    assert not list(tmp_path.rglob("begun"))
    assert ran(chain, tmp_path) == []


def test_a_stage_whose_process_failed_is_run_by_another(chain, tmp_path):
    one, *rest = chain
    tries = []

    def run(place):
        tries.append(1)
        time.sleep(0.1)
        if len(tries) == 1:
            raise RuntimeError
        return one.run(place)

    shared = [replace(one, run=run), *rest]

    def call():
        try:
            return [*run_stages(shared, tmp_path, Seen())]
        except RuntimeError:
            return None

    found = together(2, call)
    assert [one for one in found if one] == [["one", "two", "three", "four"]]
    assert len(tries) == 2
