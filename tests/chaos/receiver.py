"""A platform's webhook endpoint: counts what it is told, once per delivery id."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from workers.local.processes import LOOPBACK

CALLBACK = "chaos"
"""Name under which the events ask for it."""


class Receiver:
    def __init__(self) -> None:
        self.deliveries: dict[str, str] = {}
        """Delivery id -> event id."""
        self.posts: Counter[str] = Counter()
        """Delivery id -> how often it came; more than once is allowed, and harmless."""
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        if self._server is None:
            raise RuntimeError("closed")
        return f"http://{LOOPBACK}:{self._server.server_port}/"

    def open(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                delivery = self.headers["Lenswatch-Delivery"]
                receiver.deliveries[delivery] = json.loads(body)["event_id"]
                receiver.posts[delivery] += 1
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
