#!/usr/bin/python3
"""A web application that says what it was asked, at the port that is given; it knows only its own root.

GET and POST are answered with what was sent, as JSON; ``/slow`` sends a line a second, three of them; ``/silent`` none.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer; what takes its time does so."""
        if self.path == "/silent":
            time.sleep(20)
        if self.path != "/slow":
            self._tell(b"")
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(3):
            self.wfile.write(b"2\r\n%d\n\r\n" % number)
            self.wfile.flush()
            time.sleep(1)
        self.wfile.write(b"0\r\n\r\n")

    def do_POST(self) -> None:
        """Read all of it, which may come in chunks."""
        parts: list[bytes] = []
        if self.headers.get("Transfer-Encoding") == "chunked":
            while length := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(length))
                self.rfile.readline()
            self.rfile.readline()
        else:
            parts.append(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        self._tell(b"".join(parts))

    def _tell(self, body: bytes) -> None:
        known = {"path": self.path, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        answer = json.dumps({**known, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
