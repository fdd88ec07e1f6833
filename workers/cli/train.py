"""`lenswatch train`: the encoder, the binary detector and the one-class model, each from a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workers.cli.one_class import train_one_class
from workers.cli.read_out import train_read_out

app = typer.Typer(help="Train the detector's parts; each goes on from its checkpoint.", no_args_is_help=True)

Minutes = Annotated[float, typer.Option(help="Time budget, those before a resume included.")]
Steps = Annotated[int | None, typer.Option(help="Instead of --minutes.")]
Cache = Annotated[Path | None, typer.Option(help="Decoded tiles go here [OUT/cache].")]
Out = Annotated[Path, typer.Option(help="Checkpoint, log and exported weights go here.")]
Images = Annotated[int, typer.Option(help="Images in a batch of one process.")]
Init = Annotated[Path | None, typer.Option(help="Release folder to start from, instead of random weights.")]
LearningRate = Annotated[float, typer.Option(help="Peak of the schedule.")]
Name = Annotated[str, typer.Option(help="Name of the release.")]


@app.command()
def encoder(
    data: Annotated[Path, typer.Option(help="Folder of photographs with EXIF, with or without manifest.csv.")],
    out: Out,
    minutes: Minutes = 50,
    steps: Steps = None,
    init: Init = None,
    cache: Cache = None,
    name: Name = "sdaie-small",
    images: Images = 32,
    learning_rate: LearningRate = 1.5e-3,
    seed: int = 0,
) -> None:
    """Learn from photographs what their EXIF says (several GPUs: torchrun -m pipeline.encoder.train)."""
    from pipeline.encoder.loop import Schedule  # torch takes seconds to import: only where it is used
    from pipeline.encoder.train import EncoderTraining, train_encoder

    schedule = Schedule(minutes=minutes, steps=steps, learning_rate=learning_rate)
    train_encoder(EncoderTraining(data, out, name, cache, images, seed=seed, init=init, schedule=schedule))


@app.command()
def binary(
    data: Annotated[Path, typer.Option(help="Folder of photographs.")],
    ai: Annotated[Path, typer.Option(help="Folder of generated images.")],
    encoder: Annotated[Path, typer.Option(help="Release folder with the trained encoder, or its encoder.safetensors.")],
    out: Out,
    minutes: Minutes = 18,
    steps: Steps = None,
    init: Init = None,
    cache: Cache = None,
    name: Name = "sdaie-small",
    images: Images = 32,
    learning_rate: LearningRate = 1e-3,
    seed: int = 0,
) -> None:
    """Learn to tell photographs from generated images, staying close to the encoder's features."""
    from pipeline.encoder.binary import BinaryTraining, train_binary
    from pipeline.encoder.loop import Schedule

    release = encoder.parent if encoder.is_file() else encoder
    schedule = Schedule(minutes=minutes, steps=steps, learning_rate=learning_rate)
    train_binary(BinaryTraining(data, ai, release, out, name, cache, images, seed=seed, init=init, schedule=schedule))


@app.command()
def ablation(
    data: Annotated[Path, typer.Option(help="Folder of photographs with EXIF, with or without manifest.csv.")],
    out: Annotated[Path, typer.Option(help="One JSON a run, and table.md, go here.")],
    passes: Annotated[int, typer.Option(help="Patch passes of a run.")] = 4000,
    seeds: int = 2,
    images: Images = 16,
    patches: Annotated[int, typer.Option(help="Patches of each image.")] = 4,
    threads: Annotated[int | None, typer.Option(help="Of torch [all cores].")] = None,
) -> None:
    """Measure what each element of the encoder's recipe is worth; finished runs are not run again."""
    import torch

    from pipeline.encoder.ablation import Ablation, run_ablation

    if threads:
        torch.set_num_threads(threads)
    typer.echo(run_ablation(Ablation(data, out, passes, seeds, images, patches)))


app.command("read-out")(train_read_out)
app.command("one-class")(train_one_class)
