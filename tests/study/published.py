"""The study that the documentation shows: docs/results.json and docs/figures/."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS: dict[str, Any] = json.loads((ROOT / "docs/results.json").read_text())
FIGURES = {figure["id"]: ROOT / "docs" / figure["file"] for figure in RESULTS["figures"]}


def results_and_pictures() -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the report is rendered of."""
    return RESULTS, {name: path.read_bytes() for name, path in FIGURES.items()}
