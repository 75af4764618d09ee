#!/usr/bin/python3
"""Ask the service on port 8080 without a pause until the file STOP is there: load.py STOP RESULT.

Four threads keep their connection, four make one for each question. RESULT has, as JSON, how many questions got which
answer, and each that got none or another status than 200.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -4]}]})
HEADERS = {"Content-Type": "application/json"}


def ask(keep: bool, stop: Path, answers: Counter[str], lost: list[str]) -> None:
    """Ask until told to stop."""
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=60)
    while not stop.exists():
        try:
            connection.request("POST", "/v2/models/scaled/infer", BODY, HEADERS)
            response = connection.getresponse()
            text = response.read().decode()
            if response.status == 200:
                answers[json.dumps(json.loads(text)["outputs"][0]["data"])] += 1
            else:
                lost.append(f"{time.time():.2f}: {response.status} {text}")
        except (OSError, http.client.HTTPException) as error:
            lost.append(f"{time.time():.2f}: {error!r}")
            connection.close()
        if not keep:
            connection.close()


def main() -> None:
    """Run the threads, then write what they found."""
    stop, result = Path(sys.argv[1]), Path(sys.argv[2])
    answers: list[Counter[str]] = [Counter() for _ in range(8)]
    lost: list[str] = []
    threads = [
        threading.Thread(target=ask, args=(number % 2 == 0, stop, found, lost)) for number, found in enumerate(answers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.write_text(json.dumps({"answers": dict(sum(answers, Counter())), "lost": lost}))


if __name__ == "__main__":
    main()
