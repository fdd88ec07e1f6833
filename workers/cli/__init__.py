"""The command `lenswatch`. Modules are imported when their command is called: `--help` needs no torch and no Celery."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "score": ("score:score", "Score files and folders in this process, without any server."),
    "up": ("up:up", "Start everything on this machine and score sample images."),
    "submit": ("submit:submit", "Announce one upload: a file of yours, or an object in a bucket."),
    "backfill": ("submit:backfill", "Announce every object of a bucket, on the backfill lane."),
    "review": ("review:app", "List and decide what the model was unsure about."),
    "erase": ("erase:erase", "Erase what is known of an uploader, an object or of bytes, and prove it."),
    "reconcile": ("reconcile:reconcile", "Compare the buckets with the ledger, and repair what differs."),
    "counts": ("counts:counts", "Count verdicts by p-value again, for the thresholds page."),
    "dead": ("dead:app", "Show, replay or drop dead letters."),
    "webhooks": ("webhooks:app", "Show webhooks, and have them sent again."),
    "people": ("people:app", "Say who may sign in to the review desk, and as what."),
    "keys": ("keys:app", "Make keys for callers of the HTTP service."),
    "models": ("models:app", "List, publish, promote and roll back model versions."),
    "data": ("data:app", "Look at a folder of photographs before training on it."),
    "train": ("train:app", "Train the encoder, the one-class model or the binary detector."),
    "eval": ("eval:evaluate", "Measure a release on labelled folders."),
    "bench": ("bench:bench", "Images per second and the share of each stage."),
    "consumer": ("serve:consumer", "Run the consumer: streams to ledger and tasks."),
    "worker": ("serve:worker", "Run a Celery worker for one lane."),
    "beat": ("serve:beat", "Run the scheduler of nightly, hourly and minute jobs."),
    "web": ("serve:web", "Run the HTTP service."),
}
"""Name -> `module:attribute` under this package (a function or a Typer app), and the line that `--help` shows."""


class LazyGroup(TyperGroup):
    """Lists commands by the table above; imports only the one that runs."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _placeholder, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name else None, rest


def _load(name: str) -> Any:
    module, _, attribute = COMMANDS[name][0].partition(":")
    target: typer.Typer | Callable[..., Any] = getattr(import_module(f"workers.cli.{module}"), attribute)
    if not isinstance(target, typer.Typer):
        wrapper = typer.Typer(add_completion=False)
        wrapper.command(name)(target)
        target = wrapper
    command = typer.main.get_command(target)
    command.name = name
    return command


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # they may hold secrets
    help="Tells which uploaded images were formed by a camera, and which were not. A signal, never proof.",
)
for _name, (_, _help) in COMMANDS.items():
    app.command(_name, help=_help)(lambda: None)
