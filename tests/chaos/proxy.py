"""A door in front of the object store that can be told to misbehave: shut, slow, failing, cutting answers short."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from workers.local.processes import LOOPBACK, free_port

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}

SLOW = 1.0
"""Seconds that a slow answer takes to begin."""


class Mood(StrEnum):
    WELL = "well"
    SLOW = "slow"
    FAILING = "failing"
    """Every answer is 500."""
    CUTTING = "cutting"
    """Half of the announced body, then the end of the connection."""
    SILENT = "silent"
    """Takes the request and says nothing until the mood changes."""


class StoreProxy:
    """HTTP in front of `upstream`, on a port that stays the same while it is closed and opened."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream).netloc
        self._port = free_port()
        self.mood = Mood.WELL
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._port}"

    def open(self) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # a client that was killed
                    self.close_connection = True

            def do_GET(self) -> None:
                if proxy._server is None:  # a connection that was kept open dies with the others
                    self.close_connection = True
                else:
                    proxy._answer(self)

            do_PUT = do_HEAD = do_POST = do_DELETE = do_GET  # noqa: N815 - the names that http.server looks for

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer((LOOPBACK, self._port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()

    def close(self) -> None:
        """From now on connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @contextmanager
    def in_mood(self, mood: Mood) -> Iterator[None]:
        self.mood = mood
        try:
            yield
        finally:
            self.mood = Mood.WELL

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length)
        mood = self.mood
        if mood is Mood.FAILING:
            request.send_response(500)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        while self.mood is Mood.SILENT:
            time.sleep(0.05)
        if mood is Mood.SLOW:
            time.sleep(SLOW)
        upstream = http.client.HTTPConnection(self._upstream, timeout=30)
        try:
            # The Host header as the client signed it; http.client would put its own.
            upstream.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            self._pass_on(request, answer, answer.read(), cut=mood is Mood.CUTTING)
        finally:
            upstream.close()

    def _pass_on(
        self, request: BaseHTTPRequestHandler, answer: http.client.HTTPResponse, body: bytes, *, cut: bool
    ) -> None:
        request.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                request.send_header(name, value)
        length = answer.getheader("Content-Length") if request.command == "HEAD" else str(len(body))
        request.send_header("Content-Length", length or "0")
        request.end_headers()
        request.wfile.write(body[: len(body) // 2] if cut else body)
        request.wfile.flush()
        if cut:
            request.close_connection = True
