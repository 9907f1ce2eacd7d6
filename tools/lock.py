"""Write requirements.lock, what denseam and its developers' tools need, at the installed versions.

docs/requirements.lock has what the site needs beyond them, the dependency group "docs".

Only what the declared dependencies lead to is listed, not whatever else lies in the environment,
and local version labels are left out: `torch==2.13.0` takes the CPU build where that is offered.
"""

import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HEADER = """\
# Pinned versions for `make setup`, written by `make lock`. On Linux, PyTorch may bring CUDA
# packages of its own choosing; a CPU build of the same version is enough for everything here.
"""


SITE = "# Pinned versions for `make docs` beside ../requirements.lock, written by `make lock`.\n"


def pins_of(*roots: Requirement) -> dict[str, str]:
    """Walk the dependencies and return their versions, without denseam's."""
    pins: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [*roots]
    while waiting:
        wanted = waiting.pop()
        for extra in ("", *wanted.extras):
            key = (canonicalize_name(wanted.name), extra)
            if key in seen:
                continue
            seen.add(key)
            found = distribution(wanted.name)
            if key[0] != "denseam":
                pins[key[0]] = found.version.split("+")[0]
            for line in found.requires or []:
                need = Requirement(line)
                if need.marker is None or need.marker.evaluate({"extra": extra}):
                    waiting.append(need)
    return pins


def write(path: str, header: str, pins: dict[str, str]) -> None:
    """Write a file of pinned versions."""
    lines = [f"{name}=={version}\n" for name, version in sorted(pins.items())]
    Path(path).write_text(header + "".join(lines))


def main() -> None:
    """Write both files."""
    pins = pins_of(Requirement("denseam[dev]"))
    pins["setuptools"] = distribution("setuptools").version
    write("requirements.lock", HEADER, pins)
    groups = tomllib.loads(Path("pyproject.toml").read_text())["dependency-groups"]
    site = pins_of(*map(Requirement, groups["docs"]))
    write("docs/requirements.lock", SITE, {k: v for k, v in site.items() if k not in pins})


if __name__ == "__main__":
    main()
