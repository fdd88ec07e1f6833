"""Celery's request, but for one thing: an acknowledgement that fails is an error.

Celery logs it and goes on. The message then counts as in hand for ever, a worker that takes one message at a time never
asks for another, and nothing ends it: seen in `make chaos` with celery 5.7 and kombu 5.7 whenever Redis went away while
a task ran. Raised, the error reaches the worker's event loop, which connects anew.
"""

from __future__ import annotations

from typing import Any

from celery.worker import request


class Request(request.Request):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"connection_errors": ()})  # the errors that would be swallowed
