"""denseam guard serve: serve a guard over HTTP.

The Open Inference Protocol at /v2, a page at /, the API's page at /docs, counters at
/metrics. What is set aside goes to a quarantine, for `denseam guard review`. Without a
GUARD, mnist-n30 stands before mnist-n3, calibrated on MNIST's test images.
SIGTERM or Ctrl-C finish what was accepted.

Examples:
    denseam guard serve
    denseam guard serve guard.safetensors --port 9000 --name digits
    denseam guard serve guard.safetensors --database postgresql://guard@db.example.org/guard
    denseam guard serve guard.safetensors --host 0.0.0.0 --api-key-file keys
    denseam guard serve guard.safetensors --allowed-host guard.example.org
"""

import argparse
import sys
from pathlib import Path

from denseam import data
from denseam.cli.common import print_json, say_next, stdout
from denseam.cli.flags import add_flags, from_fields, typed
from denseam.guard import Guard
from denseam.guard.server import Settings

_FLAGS = tuple(flag for flag in from_fields(Settings) if flag.name != "allowed_hosts")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("guard", nargs="?", metavar="GUARD", help="of `denseam guard calibrate`")
    add_flags(parser, _FLAGS, filled=True)
    parser.add_argument(
        "--allowed-host", action="append", dest="allowed_hosts", metavar="NAME", default=[],
        help="another name that requests and pages may come by, a proxy's; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--log-level", choices=["debug", "info", "warning", "error"], default="info",
        help="of the lines of JSON on the standard error (default: %(default)s)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from denseam.guard.server import logging_as_json, serve  # noqa: PLC0415 (an extra)

    options = {**typed(args, _FLAGS), "allowed_hosts": args.allowed_hosts}
    if args.database == "none":
        options["database"] = None
    settings = Settings(**options)
    guard = _guard(args)

    def started(url: str) -> None:
        if args.json:
            print_json({"url": url, "settings": settings.to_json(), "guard": guard.to_json()})
        else:
            stdout.print(f"{guard!r} at {url}")
            if settings.database is not None:
                say_next("guard", "review", "list", "--database", settings.database)
        sys.stdout.flush()

    with logging_as_json(args.log_level):
        serve(guard, settings, started=started)
    return 0


def _guard(args: argparse.Namespace) -> Guard:
    if args.guard is not None:
        return Guard.load(Path(args.guard), device=args.device)
    guard = Guard("mnist-n30", "mnist-n3")
    return guard.calibrate(data.load("mnist").test, seed=args.seed)
