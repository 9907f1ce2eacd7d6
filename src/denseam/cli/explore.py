"""denseam explore: draw digits in a browser and watch four memories answer.

Draw a digit, see its labels at n = 2, 3, 20 and 30 and the memories that vote; lead an image
across a boundary, spoil it and let it be remembered, change n. All of it runs in the browser;
the server only offers the files, to this machine alone. --out writes them into a folder for
any web server.

Examples:
    denseam explore
    denseam explore --port 8000 --no-browser
    denseam explore --out site/explorer
"""

import argparse
import sys
import webbrowser
from pathlib import Path

from denseam.cli.common import foreign, print_json, stdout
from denseam.explorer import server, write


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--out", type=Path, help="write the files into this folder, and do not serve"
    )
    parser.add_argument(
        "--port", type=int, default=0, help="of the server (default: any that is free)"
    )
    parser.add_argument(
        "--browser", action=argparse.BooleanOptionalAction, default=True,
        help="open the page in a browser (default: yes)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Write the page, or serve it until told to stop."""
    if args.out is not None:
        write(args.out)
        if args.json:
            print_json({"out": str(args.out)})
        else:
            stdout.print(foreign(f"explorer in {args.out}: index.html, for any web server"))
        return 0
    with server(args.port) as serving:
        url = f"http://127.0.0.1:{serving.server_port}/"
        if args.json:
            print_json({"url": url})
        else:
            stdout.print(f"explorer at {url}, until Ctrl-C")
        sys.stdout.flush()
        if args.browser:
            webbrowser.open(url)
        serving.serve_forever()
    return 0
