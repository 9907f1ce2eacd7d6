"""Serve a guard in a process of its own: ``process.py GUARD SETTINGS``, the settings as JSON."""

import json
import sys

from denseam.guard import Guard
from denseam.guard.server import Settings, logging_as_json, serve


def main() -> None:
    guard, settings = sys.argv[1:]
    with logging_as_json("info"):
        serve(
            Guard.load(guard),
            Settings.from_json(json.loads(settings)),
            started=lambda url: print(url, flush=True),  # noqa: T201
        )
    print("stopped", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
