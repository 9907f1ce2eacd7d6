"""The guard's service and a bare server: the same framework around the classifier alone.

    apt-get install wrk
    python benchmarks/serve.py              # both, in one run: a table, and JSON as the last line
    python benchmarks/serve.py --junk       # 8 clients whose images are all set aside
    python benchmarks/serve.py --soak 600   # junk and broken requests for so long: memory

Both servers run Starlette on uvicorn, read requests with the same code, and have the same number of
threads. The bare one answers with the labels of the classifier; the guarded one asks its detector
too, answers with verdicts, counts, logs, and keeps what it sets aside: about one image in a hundred
of these, which are clean and new to it. wrk asks on the same machine.
"""

import argparse
import http.client
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

import denseam
from denseam import data
from denseam.guard import Guard
from denseam.guard.server import Settings, logging_as_json, serve
from denseam.guard.server.answers import Json
from denseam.guard.server.protocol import BINARY, decode

CLASSIFIER, DETECTOR = "mnist-n3", "mnist-n30"
CALIBRATION = 5000  # test images; the others are sent
SCRIPT = """
local bodies, n = {{}}, 0
function init()
  for i = 0, {count} - 1 do
    local file = io.open("{folder}/" .. i, "rb")
    bodies[i] = wrk.format("POST", "/v2/models/guard/infer", {{{header}}}, file:read("*a"))
    file:close()
  end
end
function request()
  n = (n + 1) % {count}
  return bodies[n]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\\n{{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "errors": %d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def bare(port, threads):
    torch.set_num_threads(threads)
    model = denseam.load_pretrained(CLASSIFIER)

    def labels(images):
        torch.set_num_threads(threads)  # of this thread
        scale = 127.5 if images.dtype == torch.uint8 else 0.5
        return model.predict(images.flatten(1) / scale - 1).tolist()

    async def infer(request):
        _, images = decode(await request.body(), request.headers.get(BINARY), 784, (28, 28))
        found = await run_in_threadpool(labels, images)
        label = {"name": "label", "datatype": "INT64", "shape": [len(found)], "data": found}
        return Json({"model_name": "guard", "outputs": [label]})

    async def live(_request):
        return Json({"live": True})

    routes = [
        Route("/v2/models/{name}/infer", infer, methods=["POST"]),
        Route("/v2/health/live", live),
    ]
    uvicorn.run(Starlette(routes=routes), port=port, access_log=False, log_level="warning")


def guarded(port, threads):
    images = data.load("mnist").test.images[:CALIBRATION]
    guard = Guard(DETECTOR, CLASSIFIER).calibrate(images)
    with logging_as_json("info"):
        serve(guard, Settings(port=port, threads=threads))


class Running:
    """A server in its own process and folder."""

    def __init__(self, role, port, threads):
        self.port, self.folder = port, tempfile.TemporaryDirectory()
        command = [sys.executable, __file__, "--role", role, "--port", str(port)]
        self.process = subprocess.Popen(  # noqa: S603
            [*command, "--threads", str(threads)], cwd=self.folder.name,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip

    def __enter__(self):
        while True:
            try:
                return self.ask("GET", "/v2/health/live") and self
            except ConnectionRefusedError:
                if self.process.poll() is not None:
                    raise SystemExit("the server did not start") from None
                time.sleep(0.2)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def resident(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


def bodies(folder, batch, encoding, junk, count=32):
    """Write requests into files; return the headers that they need, in Lua."""
    images = data.load("mnist").test.images[CALIBRATION:].numpy()
    if junk:
        images = np.random.default_rng(0).integers(0, 256, images[: count * batch].shape)
    for i in range(count):
        part = np.take(images, range(i * batch, (i + 1) * batch), axis=0, mode="wrap")
        unit = (part / 255).astype("<f4")
        tensor = {"name": "images", "datatype": "FP32", "shape": [batch, 28, 28]}
        if encoding == "json":
            tensor["data"] = [round(float(x), 4) for x in unit.ravel()]
            (folder / str(i)).write_text(json.dumps({"inputs": [tensor]}))
        else:
            tensor["parameters"] = {"binary_data_size": unit.nbytes}
            head = json.dumps({"inputs": [tensor]}).encode()
            (folder / str(i)).write_bytes(head + unit.tobytes())
    return "" if encoding == "json" else f'["Inference-Header-Content-Length"] = "{len(head)}"'


def load(server, batch, encoding, connections, seconds, *, junk=False):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        header = bodies(folder, batch, encoding, junk)
        script = folder / "wrk.lua"
        script.write_text(SCRIPT.format(folder=folder, count=32, header=header))
        for length in (1, seconds):  # the first to warm up
            command = ["wrk", "-t1", f"-c{connections}", f"-d{length}s", "--timeout", "30s"]
            command += ["-s", str(script), f"http://127.0.0.1:{server.port}"]
            done = subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    row = json.loads(done.stdout.decode().strip().splitlines()[-1])
    row["per_second"] = row.pop("requests") / row.pop("seconds")
    return row


def alone(threads):
    """Time the guard and the bare classifier without any server, by number of images."""
    torch.set_num_threads(threads)
    images = data.load("mnist").test.images
    guard = Guard(DETECTOR, CLASSIFIER).calibrate(images[:CALIBRATION])
    model, found = denseam.load_pretrained(CLASSIFIER), []
    for count in (1, 64, 1000):
        part = images[CALIBRATION : CALIBRATION + count]
        visible = part.flatten(1) / 127.5 - 1
        row = {"images": count}
        for name, ask in {
            "guard_ms": lambda part=part: guard.predict(part),
            "classifier_ms": lambda visible=visible: model.predict(visible),
        }.items():
            seconds = []
            for _ in range(31):
                start = time.perf_counter()
                ask()
                seconds.append(time.perf_counter() - start)
            row[name] = round(1e3 * float(np.median(seconds)), 2)
        found.append(row)
        print(f"{count} images without a server: {row['guard_ms']} ms, {row['classifier_ms']} bare")
    return found


def compare(args):
    cases = [(1, "json", 1), (1, "binary", 1), (1, "json", 16), (64, "json", 4), (64, "binary", 4)]
    rows, without = [], alone(args.threads)
    with Running("bare", 18080, args.threads) as one, Running("guard", 18081, args.threads) as two:
        print("batch  encoding  clients   bare /s   p50 ms   p99 ms  guarded /s   p50 ms   p99 ms")
        for batch, encoding, connections in cases:
            # By turns, so that other work of the machine slows both.
            parts = {"bare": [], "guarded": []}
            for _ in range(args.rounds):
                for name, server in (("bare", one), ("guarded", two)):
                    parts[name].append(load(server, batch, encoding, connections, args.seconds))
            row = {"batch": batch, "encoding": encoding, "clients": connections}
            for name, found in parts.items():
                row[name] = {key: float(np.median([f[key] for f in found])) for key in found[0]}
            rows.append(row)
            values = [
                row[name][key] for name in parts for key in ("per_second", "p50_ms", "p99_ms")
            ]
            shown = "".join(f"{value:9.2f}" for value in values)
            print(f"{batch:5}  {encoding:8}{connections:9}{shown}")
    facts = {"threads": args.threads, "cores": len(os.sched_getaffinity(0)),
             "seconds": args.seconds, "rounds": args.rounds, "load_average": os.getloadavg(),
             "python": platform.python_version()}  # fmt: skip
    print(json.dumps({**facts, "without_a_server": without, "rows": rows}))


def junk(args):
    """Measure a server that sets every image aside: nobody may wait for its journal."""
    rows = []
    with Running("guard", 18081, args.threads) as server:
        print("  per s   p50 ms   p99 ms")
        for _ in range(args.rounds):
            rows.append(load(server, 1, "json", 8, args.seconds, junk=True))
            print("".join(f"{rows[-1][key]:9.2f}" for key in ("per_second", "p50_ms", "p99_ms")))
    print(json.dumps({"clients": 8, "load_average": os.getloadavg(), "rows": rows}))


def soak(args):
    """Send clean images, junk and malformed bodies for so many seconds."""
    rng, samples, statuses = np.random.default_rng(0), [], {}
    good = {"name": "images", "datatype": "UINT8", "shape": [8, 28, 28]}
    path = "/v2/models/guard/infer"
    with Running("guard", 18081, args.threads) as server:
        start = last = time.monotonic()
        while time.monotonic() - start < args.soak:
            pixels = rng.integers(0, 256, 8 * 784)
            whole = json.dumps({"inputs": [{**good, "data": pixels.tolist()}]}).encode()
            sent = [whole, whole[: len(whole) // 2], whole.replace(b"28", b"27"), b"x" * 200_000,
                    whole.replace(b"[8,", b"[NaN,"), b"[" * 50_000, b" " * (9 << 20)]  # fmt: skip
            for body in sent[: 6 if rng.random() < 0.98 else 7]:
                status, _ = server.ask("POST", path, body)
                statuses[status] = statuses.get(status, 0) + 1
            if time.monotonic() - last > args.soak / 20:
                last = time.monotonic()
                samples.append([round(last - start), round(server.resident(), 1)])
                print(f"{samples[-1][0]:6} s {samples[-1][1]:8.1f} MiB")
    print(json.dumps({"resident_MiB": samples, "statuses": statuses}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many counts")
    parser.add_argument("--threads", type=int, default=1, help="of one pass through the models")
    parser.add_argument("--junk", action="store_true", help="set every image aside")
    parser.add_argument("--soak", type=int, help="seconds")
    parser.add_argument("--role", choices=["bare", "guard"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role:
        (bare if args.role == "bare" else guarded)(args.port, args.threads)
    elif args.soak:
        soak(args)
    elif shutil.which("wrk") is None:
        raise SystemExit("there is no wrk here: apt-get install wrk (Debian)")
    else:
        (junk if args.junk else compare)(args)


if __name__ == "__main__":
    main()
