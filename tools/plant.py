"""Plant known faults, one at a time, and see whether the tests still find them.

    .venv/bin/python tools/plant.py             all of tests/faults.toml
    .venv/bin/python tools/plant.py wilson c-   those with one of these words in their names

Each fault is planted in a copy of the repository, where the tests that must fail with it are run.
A fault survives when one of them passes; then the exit code is 1.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = "tests/faults.toml"
# What tests need: some read the documentation, the Makefile or the pyproject.toml.
LEFT_OUT = (".git", ".venv", "build", "runs", "results", "__pycache__", ".*_cache", ".hypothesis")
COMPILED = (".c", ".h")


@dataclass(frozen=True)
class Fault:
    """A text in a source file, the wrong text to put there, and the tests that must then fail."""

    name: str
    file: str
    text: str
    wrong: str
    tests: tuple[str, ...]

    def planted_in(self, source: str) -> str:
        """Return a source with the fault in it; the text must occur there once."""
        if (count := source.count(self.text)) != 1:
            raise ValueError(f"{self.name}: its text occurs {count} times in {self.file}")
        return source.replace(self.text, self.wrong)


def faults(root: Path = ROOT) -> list[Fault]:
    """Read the list of a repository."""
    listed = tomllib.loads((root / LIST).read_text())["fault"]
    return [Fault(**{**each, "tests": tuple(each["tests"])}) for each in listed]


def failing(root: Path, tests: Iterable[str]) -> set[str]:
    """Return the tests that fail in a repository; parameters are left out of their names."""
    environment = {
        **os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # Hypothesis and Schemathesis take two seconds
    }  # fmt: skip
    command = [
        sys.executable, "-m", "pytest", "-q", "--tb=no", "-rfE",
        "-p", "no:cacheprovider", "-p", "pytest_timeout", *tests,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        return set()  # interrupted, or a test that is not there: nothing was found
    return set(re.findall(r"^(?:FAILED|ERROR) (\S+?::\w+)", done.stdout, re.MULTILINE))


def write(root: Path, file: str, source: str) -> None:
    """Write a source file so that the next process reads it."""
    path = root / file
    path.write_text(source)
    # Of the same length in the same second: Python would take the compiled file for current.
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def survives(fault: Fault, root: Path) -> list[str]:
    """Return the tests of a fault that pass in spite of it."""
    sound = (root / fault.file).read_text()
    libraries = {path: path.read_bytes() for path in root.glob("src/**/*.so")}
    write(root, fault.file, fault.planted_in(sound))
    if fault.file.endswith(COMPILED):
        build = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace", "--force"]
        subprocess.run(build, cwd=root, check=True, capture_output=True)
    found = failing(root, fault.tests)
    write(root, fault.file, sound)
    for path, library in libraries.items():
        path.write_bytes(library)
    return [test for test in fault.tests if test not in found]


def main(words: list[str], root: Path = ROOT) -> int:
    """Plant the faults whose names hold one of the words, or all; return 1 if one survives."""
    chosen = [each for each in faults(root) if not words or any(w in each.name for w in words)]
    if not chosen:
        raise SystemExit(f"no fault in {LIST} is named like {' '.join(words)}")
    with tempfile.TemporaryDirectory(prefix="denseam-faults-") as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(root, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        broken = failing(copy, dict.fromkeys(test for each in chosen for test in each.tests))
        if broken:
            raise SystemExit("these tests fail without a fault:\n" + "\n".join(sorted(broken)))
        survivors = 0
        for fault in chosen:
            passed = survives(fault, copy)
            survivors += bool(passed)
            print(f"{'SURVIVED' if passed else 'found':8} {fault.name}", *passed, flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} faults found")
    return min(survivors, 1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
