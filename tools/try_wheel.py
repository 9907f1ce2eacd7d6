"""Install a wheel into an empty environment, and use it there: python tools/try_wheel.py WHEEL

No clone is at hand there, and no compiler: nothing but the environment is on the PATH. To try
another Python, run this with it. --torch FOLDER borrows PyTorch, and what it needs, from the
site-packages of another environment of the same Python: then nothing large is downloaded.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ("kernels", "pretrained", "prediction", "test_model.py", "test_memory.py", "test_energy.py")
WITH = ("pytest>=8.3", "pytest-timeout>=2.3", "hypothesis>=6.100", "pandas>=2.2")
ABSENCE = "ignore:slower, in plain PyTorch"  # the pure wheel says it once a process
FIRST_STEPS = """
import denseam, denseam.kernels, PIL.Image
choice = denseam.kernels.choose()
print(f"denseam {denseam.__version__} in {denseam.__path__[0]}: {choice.reason}")
test = denseam.data.load("mnist").test[:1000]
wrong = int((denseam.load_pretrained("mnist-n30").predict(test.visible()) != test.labels).sum())
print(f"mnist-n30: {wrong} of 1000 wrong")
assert wrong < 40
PIL.Image.fromarray(test.images[0].numpy()).save("seven.png")
"""


def main() -> None:
    """Try one wheel."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--torch", type=Path, metavar="FOLDER", help="site-packages with PyTorch")
    parser.add_argument("--reproduce", action="store_true", help="and the paper's study, quick")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder)
        venv.create(there / "env", with_pip=True)
        python = there / "env/bin/python"
        if args.torch:
            (site,) = (there / "env/lib").glob("python*/site-packages")
            (site / "borrowed.pth").write_text(f"{args.torch.resolve()}\n")
        pip = (str(python), "-m", "pip", "install", "--quiet")
        subprocess.run([*pip, f"{args.wheel}[figures]", *WITH], check=True)
        for name in ("tests", "tools", "benchmarks"):
            shutil.copytree(ROOT / name, there / name)
        shutil.copy(ROOT / "pyproject.toml", there)
        use(there, "python", "-c", FIRST_STEPS)
        use(there, "denseam", "predict", "mnist-n30", "seven.png")
        use(there, "denseam", "train", "--power", "20", "--n-memories", "100", "--epochs", "1",
            "--out", "run")  # fmt: skip
        use(there, "denseam", "evaluate", "run")
        use(there, "python", "-m", "pytest", "-q", "-m", "not slow", "-W", ABSENCE,
            *(f"tests/{name}" for name in TESTS))  # fmt: skip
        if args.reproduce:
            use(there, "denseam", "reproduce", "--quick")


def use(there: Path, command: str, *words: str) -> None:
    """Run a command of the environment, and say how long it took."""
    print("$", command, *(word for word in words if word is not FIRST_STEPS), flush=True)
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
    begun = time.monotonic()
    subprocess.run(
        [str(there / "env/bin" / command), *words], check=True, cwd=there,
        env={"PATH": str(there / "env/bin"), **kept},
    )  # fmt: skip
    print(f"# {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
