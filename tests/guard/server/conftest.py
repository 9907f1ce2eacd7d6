"""A guard in a file, a server of it, and a PostgreSQL of the tests' own."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from denseam import data
from denseam.guard import Guard

from .serving import Server, serving


@pytest.fixture(scope="session")
def digits() -> Any:
    """MNIST's test images (10000, 28, 28) uint8."""
    return data.load("mnist").test.images


@pytest.fixture(scope="session")
def guard(digits) -> Guard:
    return Guard("mnist-n30", "mnist-n3").calibrate(digits[:2000])


@pytest.fixture(scope="session")
def guard_file(guard, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("guard") / "guard.safetensors"
    guard.save(path)
    return path


@pytest.fixture(scope="module")
def server(guard_file, tmp_path_factory) -> Iterator[Server]:
    """One for all tests of a file that leave it as it is; it answers slow clients quickly."""
    folder = tmp_path_factory.mktemp("server")
    limits = {"receive_seconds": 1.5, "max_body": 1 << 20, "max_batch": 64, "queue": 128}
    with serving(guard_file, folder, **limits) as running:
        yield running
        assert running.process.poll() is None


@dataclass
class Postgres:
    """A PostgreSQL server on a socket in its own folder."""

    programs: Path
    folder: Path
    user: str | None  # who runs it; root may not

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), "-D", str(self.folder / "data"), *arguments]
        with (self.folder / "output").open("ab") as output:
            subprocess.run(
                command, check=True, user=self.user, cwd=self.folder, stdout=output, stderr=output,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def start(self) -> None:
        options = f"-c listen_addresses='' -c fsync=off -k {self.folder}"
        self.run("pg_ctl", "start", "--wait", "-l", str(self.folder / "log"), "-o", options)

    def stop(self) -> None:
        self.run("pg_ctl", "stop", "--wait", "--mode", "immediate")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found := shutil.which("initdb"):
        folders.append(Path(found).resolve().parent)
    if not folders:
        pytest.skip("no PostgreSQL here: apt-get install postgresql (Debian)")
    user = None
    if os.geteuid() == 0:
        user = next((each.pw_name for each in pwd.getpwall() if each.pw_name == "postgres"), None)
        if user is None:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="denseam-postgres-"))
    if user is not None:
        shutil.chown(folder, user)
    made = Postgres(folders[0], folder, user)
    try:
        made.run("initdb", "--auth=trust", "--username=postgres", "--no-sync",
                 "--locale=C", "--encoding=UTF8")  # fmt: skip
        made.start()
        yield made
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            made.stop()
        shutil.rmtree(folder, ignore_errors=True)
