"""``python3 -m inference_server.golden``: ask a server its golden set, and open a port once it has answered right.

It runs beside a server of any make in the same pod. Kubernetes sends the pod requests when both containers are ready,
and this one is when its port can be reached: so no request reaches a server whose models answer otherwise. A wrong
answer ends it with status 1 and the differences on its standard error.

Afterwards nothing is asked any more. A connection is held to the server; when the server goes, so does this, and
whoever starts both again has them begin anew.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.edgewright.edge.plugins.module_utils.inference_client import InferenceClient, ProbeError
from ansible_collections.edgewright.edge.plugins.module_utils.open_inference import differences, model_route

# Less than any server takes from its end until it listens again, and more than it takes to close all it has open.
_MOMENT = 0.3
_PAUSE = 0.5
# Full or stopping, or a proxy's word for a server that is away: what may pass.
_PASSING = {0, 429, 502, 503, 504}
# Kubernetes keeps the last 2048 bytes of what a container says before it ends.
_LONGEST = 1800


def arguments(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="inference_server.golden", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", required=True, help="root of the server, without /v2")
    parser.add_argument("--cases", required=True, type=Path, help="JSON file: a list of questions and their answers")
    parser.add_argument("--port", required=True, type=int, help="TCP port that is open from then on")
    parser.add_argument("--timeout", type=float, default=300, help="seconds for one answer, once it is ready (300)")
    return parser.parse_args(words)


def wait(url: str) -> None:
    """Wait as long as it takes until the server says that it is ready; say once why it is not."""
    told = ""
    while True:
        try:
            InferenceClient(url, 0).ask("v2/health/ready")
        except ProbeError as reason:
            if not told:
                told = f"waiting: {reason}"
                print(told, file=sys.stderr, flush=True)
            time.sleep(_PAUSE)
        else:
            return


def wrong(url: str, number: int, case: dict[str, Any], timeout: float) -> list[str]:
    """Return how the answer to one case differs, in words; nothing if it is right.

    Raises:
        ProbeError: the server was away or busy.
    """
    at = f"golden[{number}], model {case['model']}"
    client = InferenceClient(url, timeout, longest=timeout)
    route = model_route(case["model"], case.get("version"))
    try:
        client.wait_ready(f"{route}/ready")
        answer = client.infer(route, case["inputs"])
    except ProbeError as reason:
        if reason.status in _PASSING:
            raise
        return [f"{at}: {reason}"]
    return [f"{at}: {text}" for text in differences(answer, case["outputs"], tolerance=case["tolerance"])]


def ask(url: str, cases: list[dict[str, Any]], timeout: float) -> list[str]:
    """Return how the answers of a server that is ready differ from the golden set.

    One that does not answer is waited for; but if it says for the whole of ``timeout`` that it is away, although it is
    ready, that is an answer too.
    """
    deadline = time.monotonic() + timeout
    while True:
        wait(url)
        try:
            return [text for number, case in enumerate(cases) for text in wrong(url, number, case, timeout)]
        except ProbeError as reason:
            if time.monotonic() > deadline:
                return [str(reason)]
            time.sleep(_PAUSE)


def hold(address: tuple[str, int], port: int) -> None:
    """Let everybody connect to a port until the server at ``address`` is gone."""
    with _listening(port) as listener:
        while True:
            try:
                server = socket.create_connection(address)
            except ConnectionError:
                return
            # A server may close what is idle, or reset it. If it has ended, nobody takes the next connection.
            with server, contextlib.suppress(ConnectionError):
                _until_closed(server, listener)
            time.sleep(_MOMENT)


def _listening(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _until_closed(server: socket.socket, listener: socket.socket) -> None:
    while True:
        ready, _, _ = select.select([server, listener], [], [])
        if listener in ready:
            # Who asked may have reset it before it was taken.
            with contextlib.suppress(ConnectionError):
                listener.accept()[0].close()
        if server in ready and not server.recv(4096):
            return


def _stop(*_: object) -> None:
    raise SystemExit(0)


def main() -> int:
    """Ask, then hold the port; return 1 for a wrong answer and 0 when the server has ended."""
    # The first process of a container has no default for it.
    signal.signal(signal.SIGTERM, _stop)
    options = arguments(sys.argv[1:])
    cases = json.loads(options.cases.read_text(encoding="utf-8"))
    if found := ask(options.url, cases, options.timeout):
        print("The golden set is answered otherwise: " + "; ".join(found)[:_LONGEST], file=sys.stderr)
        return 1
    print(f"{len(cases)} answers of the golden set are right", file=sys.stderr, flush=True)
    place = urlsplit(options.url)
    hold((place.hostname or "", place.port or 80), options.port)
    print("the server has ended: it is asked again when it is back", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
