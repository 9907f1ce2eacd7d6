"""Write requirements.lock: what denseam and its developers' tools need, at the installed versions.

Only what the declared dependencies lead to is listed, not whatever else lies in the environment,
and local version labels are left out: `torch==2.13.0` takes the CPU build where that is offered.
"""

from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Requirement("denseam[dev]")
HEADER = """\
# Pinned versions for `make setup`, written by `make lock`. On Linux, PyTorch may bring CUDA
# packages of its own choosing; a CPU build of the same version is enough for everything here.
"""


def main() -> None:
    """Walk the dependencies and write the file."""
    pins: dict[str, str] = {"setuptools": distribution("setuptools").version}
    seen: set[tuple[str, str]] = set()
    waiting = [ROOT]
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
    lines = [f"{name}=={version}\n" for name, version in sorted(pins.items())]
    Path("requirements.lock").write_text(HEADER + "".join(lines))


if __name__ == "__main__":
    main()
