"""`denseam guard serve`"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from denseam import data
from denseam.cli.common import add_command, print_json, stdout
from denseam.guard import Guard
from denseam.guard.server import Settings

_OPTIONS = {
    "host": ("ADDRESS", "to listen on"),
    "port": ("NUMBER", "0 for any free one"),
    "name": ("NAME", "of the model, in /v2/models/NAME"),
    "database": ("PATH|URL", "of the quarantine: SQLite or postgresql://; none for no quarantine"),
    "spool": ("FOLDER", "of the journal before the database (default: beside it)"),
    "spool-bytes": ("BYTES", "that the journal may hold"),
    "retention-days": ("DAYS", "unlabelled items are deleted after; 0: never"),
    "retention-count": ("COUNT", "newest unlabelled items that are kept; 0: all"),
    "api-key-file": ("FILE", "lines of a name, a space and a key"),
    "max-batch": ("IMAGES", "in one request, and in one pass through the models"),
    "max-wait": ("SECONDS", "that a busy server waits for more images to join a pass"),
    "queue": ("IMAGES", "under way at once; beyond, 429"),
    "deadline": ("SECONDS", "that a request waits for the models; beyond, 429"),
    "max-body": ("BYTES", "of one request"),
    "max-bodies": ("BYTES", "of all requests that are being received"),
    "max-connections": ("COUNT", "beyond, a connection is closed"),
    "receive-seconds": ("SECONDS", "for the head of a request, and again for its body"),
    "shutdown-seconds": ("SECONDS", "for requests under way when it stops"),
    "workers": ("COUNT", "passes through the models at once"),
    "threads": ("COUNT", "of one pass through the models"),
}
_DEFAULTS = {field.name: field.default for field in fields(Settings)}


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "serve",
        "serve a guard over HTTP",
        "The Open Inference Protocol at /v2, a page at /, the API's page at /docs, counters at\n"
        "/metrics. What is set aside goes to a quarantine, for `denseam guard review`. Without a\n"
        "GUARD, mnist-n30 stands before mnist-n3, calibrated on MNIST's test images.\n"
        "SIGTERM or Ctrl-C finish what was accepted.",
        """
denseam guard serve
denseam guard serve guard.safetensors --port 9000 --name digits
denseam guard serve guard.safetensors --database postgresql://guard@db.example.org/guard
denseam guard serve guard.safetensors --host 0.0.0.0 --api-key-file keys
denseam guard serve guard.safetensors --allowed-host guard.example.org
""",
    )
    parser.add_argument("guard", nargs="?", metavar="GUARD", help="of `denseam guard calibrate`")
    for name, (metavar, text) in _OPTIONS.items():
        default = _DEFAULTS[name.replace("-", "_")]
        parser.add_argument(
            f"--{name}", type=str if default is None else type(default), metavar=metavar,
            default=default, help=text if default is None else f"{text} (default: %(default)s)",
        )  # fmt: skip
    parser.add_argument(
        "--allowed-host", action="append", dest="allowed_hosts", metavar="NAME", default=[],
        help="another name that requests and pages may come by, a proxy's; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--allow-anonymous", action="store_true",
        help="let anybody ask who can reach the address",
    )  # fmt: skip
    parser.add_argument(
        "--log-level", choices=["debug", "info", "warning", "error"], default="info",
        help="of the lines of JSON on the standard error (default: %(default)s)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from denseam.guard.server import logging_as_json, serve  # noqa: PLC0415 (an extra)

    given = {name: getattr(args, name) for name in _DEFAULTS}
    settings = Settings(**given | {"database": None if args.database == "none" else args.database})
    guard = _guard(args)

    def started(url: str) -> None:
        if args.json:
            print_json({"url": url, "settings": settings.to_json(), "guard": guard.to_json()})
        else:
            stdout.print(f"{guard!r} at {url}")
        sys.stdout.flush()

    with logging_as_json(args.log_level):
        serve(guard, settings, started=started)
    return 0


def _guard(args: argparse.Namespace) -> Guard:
    if args.guard is not None:
        return Guard.load(Path(args.guard), device=args.device)
    guard = Guard("mnist-n30", "mnist-n3")
    return guard.calibrate(data.load("mnist").test, seed=args.seed)
