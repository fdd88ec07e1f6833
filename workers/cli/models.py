"""`lenswatch models`: the registry in a terminal, and the authors' weight files."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.settings import Settings
from workers.bootstrap import Dependencies

if TYPE_CHECKING:
    from pipeline.records import ModelVersion

app = typer.Typer(no_args_is_help=True, help="List, publish, promote and roll back model versions.")

Actor = Annotated[str | None, typer.Option(help="Who decides this; it is written down [your user name].")]
Reason = Annotated[str, typer.Option(help="Why; it is written down.")]


@app.command("list")
def list_versions() -> None:
    """Every version, newest first, and where the aliases point."""
    with Dependencies(Settings()) as deps:
        versions, aliases = deps.registry.list_versions(), deps.registry.aliases()
    table = Table("version", "alias", "encoder", "binary", "fitted on", "calibrated on")
    for version in versions:
        table.add_row(
            version.name,
            ", ".join(sorted(alias for alias, name in aliases.items() if name == version.name)),
            str(version.encoder_version),
            str(version.binary_version),
            str(version.card.get("fit_photos", "-")),
            str(version.card.get("calibration_photos", "-")),
        )
    Console().print(table)


@app.command()
def publish(
    folder: Annotated[
        Path | None, typer.Argument(help="Release folder [the shipped one].", exists=True, file_okay=False)
    ] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Make it the champion, not the challenger.")] = False,
    actor: Actor = None,
) -> None:
    """Load a release on Triton, store its files, and make it the challenger."""
    from pipeline.adapters.triton import TritonRepository
    from pipeline.release import Release

    settings = Settings()
    release = Release.open((folder or settings.detector.release).resolve())
    alias = "champion" if promote else "challenger"
    with Dependencies(settings) as deps:
        repository = TritonRepository(settings.triton.model_repository, deps.triton)
        version = deps.registry.publish(release, repository, actor=_actor(actor), alias=alias)
    _say(version, f"published as {alias}")


@app.command("promote")
def promote_version(
    version: Annotated[str, typer.Argument(help="Name of a version, or `challenger`.")],
    reason: Reason = "promoted by hand",
    actor: Actor = None,
) -> None:
    """Make it the champion: every upload from now on is scored with it."""
    with Dependencies(Settings()) as deps:
        _say(deps.registry.promote(version, actor=_actor(actor), reason=reason), "is the champion")


@app.command()
def rollback(reason: Reason = "rolled back by hand", actor: Actor = None) -> None:
    """Bring back the champion before this one; once more goes back one further."""
    with Dependencies(Settings()) as deps:
        _say(deps.registry.rollback(actor=_actor(actor), reason=reason), "is the champion again")


@app.command()
def card(
    version: Annotated[str, typer.Argument(help="Name of a version, an alias, or a release folder.")],
    real: Annotated[Path | None, typer.Option(help="Folder of photographs.", exists=True, file_okay=False)] = None,
    ai: Annotated[Path | None, typer.Option(help="Folder of AI images.", exists=True, file_okay=False)] = None,
    figures: Annotated[
        Path | None, typer.Option("--eval", help="JSON of `lenswatch eval`, instead of running it.")
    ] = None,
    unseen: Annotated[Path | None, typer.Option(help="JSON of `lenswatch eval --unseen`.", exists=True)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the card here, its plots beside it [standard output].")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Thumbnails of the worst errors go here; not for others.")
    ] = None,
) -> None:
    """Of a version: its card as JSON. Of a release folder: its model card in Markdown, with the figures of an eval."""
    from workers.cli.card import CardOptions, write_card

    options = CardOptions(real, ai, figures, unseen, out, pictures)
    if Path(version).is_dir():
        write_card(Path(version).resolve(), options)
        return
    if options != CardOptions():
        raise typer.BadParameter(f"{version} is no release folder; the options are for one")
    with Dependencies(Settings()) as deps:
        found = deps.registry.get(version)
    typer.echo(json.dumps({"name": found.name, **found.card}, indent=2))


@app.command("import-authors")
def import_authors(
    file: Annotated[Path, typer.Argument(help="A weight file of the SDAIE authors (.pth).", exists=True)],
    out: Annotated[Path, typer.Option(help="Folder for the converted weights.")] = Path("imported"),
) -> None:
    """Convert a weight file of the authors', backbone or binary, into ours."""
    from pipeline.encoder.import_weights import convert  # torch, only here

    typer.echo(f"{convert(file, out)} written")


@app.command("verify-authors")
def verify_authors(
    folder: Annotated[Path, typer.Argument(help="backbone_random.pth, binary_random.pth and expected.npz.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Run the recorded inputs of the authors' network through ours; print the largest absolute difference of each."""
    from pipeline.encoder.import_weights import verify  # torch, only here

    differences = verify(folder)
    if as_json:
        typer.echo(json.dumps(differences))
        return
    table = Table("output", "largest absolute difference")
    for family, difference in differences.items():
        table.add_row(family, f"{difference:.2e}")
    Console().print(table)


def _actor(said: str | None) -> str:
    return said or getpass.getuser()


def _say(version: ModelVersion, what: str) -> None:
    typer.echo(f"{version.name} {what} (encoder {version.encoder_version}, binary {version.binary_version})")
