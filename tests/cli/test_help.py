"""Help, documents and signatures agree: options in pages exist, defaults in help are true."""

import argparse
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from denseam import cli
from denseam.cli import parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LOGS = {"log.md"}  # what was typed then
# Help that states a default which no parser holds. An entry that is no longer needed has to go.
RESTATED = {"attack --eps", "transfer --beta-sm"}


def commands(top, name=""):
    """Return the parser of every command, by its words."""
    below = [each for each in top._actions if isinstance(each, argparse._SubParsersAction)]
    if not below:
        return {name: top}
    (choices,) = [each.choices for each in below]
    return {
        words: each
        for word, inner in choices.items()
        for words, each in commands(inner, f"{name} {word}".strip()).items()
    }


COMMANDS = commands(parser())


def lines_of(page):
    """Return the command lines of a page, in blocks and in running text, one string each."""
    text = page.read_text().replace("\\\n", " ")
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    spans = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    return [
        " ".join(each.split()) for each in (*lines, *spans) if re.search(r"\bdenseam [a-z]", each)
    ]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in LOGS], ids=lambda page: page.name
)
def test_pages_name_commands_and_options_that_there_are(page):
    for line in lines_of(page):
        typed = re.split(r"[|;&]", line[re.search(r"\bdenseam [a-z]", line).start() :])[0].split()
        words = typed[1]
        if words == "guard" and len(typed) > 2 and f"guard {typed[2]}" in COMMANDS:
            words = f"guard {typed[2]}"
        options = [word.partition("=")[0] for word in typed if word.startswith("--")]
        within = [each for name, each in COMMANDS.items() if f"{name} ".startswith(f"{words} ")]
        assert within, line
        there = {option for each in within for option in each._option_string_actions}
        assert set(options) <= there, line


def wrong_defaults(command):
    """Return the options of a command whose help states another default than there is."""
    for action in COMMANDS[command]._actions:
        assert action.help, f"{command} {action.option_strings} has no help"
        named = re.search(r"\(default: (.*?)\)", action.help % vars(action))
        if named is None or not re.search(r"\d", named[1]):
            continue  # "(default: all)" is in words
        flag = getattr(action, "flag", None)
        default = flag.default if flag else action.default
        values = default if isinstance(default, list | tuple) else [default]
        texts = {" ".join(map(str, values))}
        texts |= {" ".join(f"{value:g}" for value in values if isinstance(value, int | float))}
        if named[1] not in texts:
            yield f"{command} {action.option_strings[0]}"


def test_the_defaults_in_help_are_those_of_signatures_and_parsers():
    assert {each for command in COMMANDS for each in wrong_defaults(command)} == RESTATED


def modules(package="denseam.cli", names=cli.COMMANDS):
    """Return the module of every command and group."""
    for name in names:
        module = importlib.import_module(f"{package}.{name}")
        yield module
        if hasattr(module, "COMMANDS"):
            yield from modules(module.__name__, module.COMMANDS)


def test_commands_work_without_docstrings(monkeypatch):
    """As under python -OO: there is less help then, and nothing else is missing."""
    for command in modules():
        monkeypatch.setattr(command, "__doc__", None)
    assert commands(parser()).keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", [*modules()], ids=lambda command: command.__name__)
def test_docstrings_name_their_command(command):
    words = command.__name__.removeprefix("denseam.cli.").replace(".", " ")
    assert re.match(rf"denseam {words}: [^:]+(: [^:]+)?\.\n\n", command.__doc__)


@pytest.mark.parametrize("words", [[], ["guard"], ["guard", "review"]], ids=" ".join)
def test_a_group_alone_shows_its_help(words, run):
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: {' '.join(['denseam', *words])} [options] ")
    assert "ommands:\n" in out or "actions:\n" in out


def test_help_lists_what_the_commands_say_of_themselves(run):
    text = " ".join(run()[1].split())
    for command in cli.COMMANDS:
        doc = importlib.import_module(f"denseam.cli.{command}").__doc__
        assert f" {command} {doc.partition(': ')[2].partition('.')[0]} " in f"{text} "


@pytest.mark.parametrize("words", [["--help"], ["--version"], [], ["guard"], ["trian"]], ids=str)
def test_nothing_heavy_is_imported_for_help(words):
    program = (
        "import sys; from denseam.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'rich'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_help_is_in_colour_where_that_is_welcome(environment, coloured, run, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    plain = run("data", "--help")[1]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shown = run("data", "--help")[1]
    assert ("\x1b[" in shown) == coloured
    assert re.sub(r"\x1b\[\d*m", "", shown) == plain


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_descriptions_fit_the_terminal(columns, name, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = run(*name.split(), "--help")[1].partition("\n\nexamples:")[0]
    assert max(map(len, text.splitlines())) <= columns


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("evalute", "did you mean evaluate?"),
        ("Train", "did you mean train?"),
        ("guard calibrat", "did you mean calibrate?"),
        ("guard review shwo", "did you mean show?"),
        ("train --powr 3", "did you mean --power?"),
        ("evaluate mnist-n2 --modle x", "see denseam evaluate --help"),
        ("attack mnist-n2 --method fgsn --out x", "did you mean fgsm?"),
        ("evaluate minst-n30", "did you mean mnist-n30?"),
        ("evaluate mnist-n30 --dataset fashon-mnist", "did you mean fashion-mnist?"),
        ("data minst", "did you mean mnist?"),
    ],
)
def test_a_typing_error_gets_one_line_with_what_was_meant(line, hint, run):
    code, out, err = run(*line.split())
    assert (code, out) == (2, "")
    assert hint in err
    assert err.count("\n") == 1


def test_an_option_cut_short_still_counts(run):
    assert run("data", "--js")[0] == 0
