"""Help, documents and signatures agree: options in pages exist, defaults in help are true."""

import argparse
import re
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


def test_commands_work_without_docstrings(monkeypatch):
    """As under python -OO: there is less help then, and nothing else is missing."""
    for command in cli._COMMANDS:
        monkeypatch.setattr(command, "__doc__", None)
    assert commands(parser()).keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", cli._COMMANDS, ids=lambda command: command.__name__)
def test_docstrings_name_their_command(command):
    name = command.__name__.rpartition(".")[2]
    assert command.__doc__.startswith((f"denseam {name}: ", f"`denseam {name}`: "))
