"""The guard as an HTTP service: the Open Inference Protocol, a quarantine, and a page.

    connection -> Gate -> route -> Bodies -> Batcher -> guard -> Spool -> answer
                                                                   '-> Store, in the background

Starlette and uvicorn carry it; ``docs/serve.md`` says how to run it and what it promises. All but
``Settings`` needs ``pip install 'denseam[serve]'``, and is imported at its first use.
"""

import importlib
from typing import Any

from denseam.errors import MissingPackageError
from denseam.guard.server.settings import Settings

__all__ = ["Settings", "Store", "create_app", "image_set", "logging_as_json", "serve"]

_PARTS = {
    "Store": "quarantine",
    "create_app": "app",
    "image_set": "quarantine.export",
    "logging_as_json": "logs",
    "serve": "run",
}


def __getattr__(name: str) -> Any:
    """Import a part that needs the extra packages.

    Raises:
        MissingPackageError: when one of them is not installed.
    """
    if name not in _PARTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_PARTS[name]}"), name)
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"the guard's server needs {error.name}: pip install 'denseam[serve]'"
        ) from error
