"""Scripts of completion: made for three shells, and tried in the one that is everywhere."""

import shutil
import subprocess

import pytest

pytest.importorskip("shtab")
TRY = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_shtab_denseam
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def script(run, tmp_path):
    code, out, err = run("completion", "bash")
    assert (code, err) == (0, "")
    path = tmp_path / "denseam.bash"
    path.write_text(out)
    return path


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands_options_choices_names_and_files(script, tmp_path):
    def completed(*words):
        done = subprocess.run(
            ["bash", "-c", TRY, "bash", script.name, "denseam", *words],
            capture_output=True, text=True, check=True, cwd=tmp_path,
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout.split()

    (tmp_path / "mine.safetensors").touch()
    assert completed("ev") == ["evaluate"]
    assert completed("guard", "ch") == ["check"]
    assert completed("guard", "review", "sh") == ["show"]
    assert "mnist-n30" in completed("evaluate", "mnist-n")
    assert completed("evaluate", "mi") == ["mine.safetensors"]
    assert completed("evaluate", "mnist-n2", "--datas") == ["--dataset"]
    assert completed("evaluate", "mnist-n2", "--dataset", "fa") == ["fashion-mnist"]
    assert completed("attack", "mnist-n2", "--method", "fg") == ["fgsm"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_know_commands_and_names(shell, run):
    code, out, _ = run("completion", shell)
    assert code == 0
    for word in ("calibrate", "mnist-n30", "fashion-mnist", "fgsm", "dataset"):
        assert word in out


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish here: apt-get install fish")
def test_fish_completes_commands_choices_names_and_files(run, tmp_path):
    (tmp_path / "denseam.fish").write_text(run("completion", "fish")[1])
    (tmp_path / "mine.safetensors").touch()
    lines = ("guard ch", "evaluate --part te", "evaluate mnist-n3", "evaluate mi")
    asked = "; ".join(f"complete -C 'denseam {line}'" for line in lines)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source denseam.fish; {asked}"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    found = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert found == ["check", "test", "mnist-n3", "mnist-n30", "mine.safetensors"]


def test_a_shell_that_is_nearly_one_is_told(run):
    code, _, err = run("completion", "bsh")
    assert (code, "did you mean bash?" in err) == (2, True)
