#!/usr/bin/python3
"""Connect to an inference service every few milliseconds while a command runs: knock.py ADDRESS PORT COMMAND...

Ends a moment after the command. Prints how many connections had which end, as JSON: ``answered``; ``refused``;
``ended``, by a server that went away; ``unheard``, when nobody said anything for a long time or there was no way;
``sent again``, how often the kernel had to ask for a connection once more because nobody had said yes or no to it.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

PERIOD, PATIENCE, LONGER = 0.005, 20, 0.5
QUESTION = b"GET /v2/health/live HTTP/1.0\r\n\r\n"


def knock(address: tuple[str, int]) -> str:
    """Ask once, and return how it ended."""
    try:
        with socket.create_connection(address, PATIENCE) as connection:
            connection.sendall(QUESTION)
            return "answered" if connection.recv(64) else "ended"
    except ConnectionRefusedError:
        return "refused"
    except ConnectionError:
        return "ended"
    except OSError:
        return "unheard"


def sent_again() -> int:
    """Return how often a SYN was sent again in this network namespace (TCPSynRetrans of proc_net_netstat)."""
    names, numbers = [
        line.split() for line in Path("/proc/net/netstat").read_text().splitlines() if line.startswith("TcpExt:")
    ]
    return int(numbers[names.index("TCPSynRetrans")])


def main() -> int:
    """Knock until the command has ended, and a moment longer."""
    address, command = (sys.argv[1], int(sys.argv[2])), sys.argv[3:]
    ends: Counter[str] = Counter({"answered": 0, "refused": 0, "ended": 0, "unheard": 0})
    before = sent_again()
    threads = []
    with subprocess.Popen(command) as running:
        until = float("inf")
        while time.monotonic() < until:
            threads.append(threading.Thread(target=lambda: ends.update([knock(address)])))
            threads[-1].start()
            time.sleep(PERIOD)
            if until == float("inf") and running.poll() is not None:
                until = time.monotonic() + LONGER
    for thread in threads:
        thread.join()
    print(json.dumps({**ends, "sent again": sent_again() - before}))
    return running.returncode


if __name__ == "__main__":
    sys.exit(main())
