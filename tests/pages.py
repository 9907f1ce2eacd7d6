"""Pages of docs/: their code runs, and their tables are those of the results beside them."""

import re
from pathlib import Path
from typing import Any


def run_code(page: Path) -> dict[str, Any]:
    """What is defined after all Python of a page has run, from top to bottom."""
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(block, str(page), "exec"), names)
    return names


def table_of(page: Path, name: str) -> str:
    """What stands between a table's marks."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", page.read_text(), re.DOTALL)
    assert found, name
    return found[1]
