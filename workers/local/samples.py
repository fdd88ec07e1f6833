"""Images to try Lenswatch on: photographs, simulated photographs, and pictures that no camera made.

The two photographs are those that scikit-learn ships (`sklearn/datasets/images`, CC BY, credits in its README.txt);
they lost their EXIF long ago. Everything else is rendered here, the same bytes at every run.
"""

from __future__ import annotations

import io
import shutil
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from workers.local.camera import SimulatedCamera, fractal_noise, landscape

CAMERAS = (
    # height, width, camera
    (768, 1024, SimulatedCamera("SimCam 1", 100, Fraction(1, 250), 5.6, 23, 92)),
    (960, 640, SimulatedCamera("SimCam 1", 400, Fraction(1, 125), 4, 35, 92)),
    (720, 1280, SimulatedCamera("SimCam 2", 1600, Fraction(1, 60), 2.8, 18, 85)),
    (600, 800, SimulatedCamera("SimCam 2", 3200, Fraction(1, 30), 2, 50, 95)),
)


def write_samples(folder: Path, shared: Path | None = None) -> list[Path]:
    """Write the samples to `folder` (made where missing) and return their paths, in the order of this page.

    Args:
        shared: a folder whose `data/originals/*.jpg`, whole files of real cameras, are added where they exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {**_photographs(), **_simulated(), **_rendered()}
    paths = [folder / name for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content)
    originals = sorted((shared / "data" / "originals").glob("*.jpg")) if shared else []
    return paths + [Path(shutil.copyfile(original, folder / f"original_{original.name}")) for original in originals]


def _photographs() -> dict[str, bytes]:
    images = files("sklearn.datasets") / "images"
    return {f"photo_{name}": (images / name).read_bytes() for name in ("china.jpg", "flower.jpg")}


def _simulated() -> dict[str, bytes]:
    return {
        f"simulated_iso{camera.iso}.jpg": camera.photograph(landscape(height, width, seed), seed)
        for seed, (height, width, camera) in enumerate(CAMERAS)
    }


def _rendered() -> dict[str, bytes]:
    pictures = {"rendered_shapes": _shapes(), "rendered_noise": _noise_art(), "rendered_screenshot": _screenshot()}
    return {f"{name}.png": _png(picture) for name, picture in pictures.items()}


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _shapes(side: int = 768) -> Image.Image:
    """Shaded balls over a gradient, anti-aliased: what a renderer makes."""
    y, x = np.mgrid[0:side, 0:side] / side
    picture = np.stack([0.2 + 0.6 * y, 0.3 + 0.3 * x, 0.8 - 0.5 * y], axis=-1)
    random = np.random.default_rng(7)
    for _ in range(9):
        (top, left), radius, colour = random.uniform(0.1, 0.9, 2), random.uniform(0.06, 0.16), random.uniform(0.2, 1, 3)
        distance = np.hypot(y - top, x - left) / radius
        height = np.sqrt(np.clip(1 - distance**2, 0, 1))
        light = np.clip((height + (top - y) / radius + (left - x) / radius) / 3**0.5, 0.08, 1)
        cover = np.clip((1 - distance) * radius * side, 0, 1)[..., None]
        picture = picture * (1 - cover) + light[..., None] * colour * cover
    return Image.fromarray(np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8))


def _noise_art(side: int = 768) -> Image.Image:
    """Fractal noise through a sine palette: texture everywhere, without a sensor."""
    noise = fractal_noise(side, side, 1.7, np.random.default_rng(8))
    phases = np.array([0.0, 0.8, 1.9])
    return Image.fromarray(np.round(127.5 * (1 + np.sin(4 * noise[..., None] + phases))).astype(np.uint8))


def _screenshot(width: int = 1000, height: int = 700) -> Image.Image:
    """A window with a side bar, text and a chart."""
    picture = Image.new("RGB", (width, height), "#f4f5f7")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    draw.rectangle((0, 0, width, 44), fill="#24292f")
    draw.text((20, 12), "Reports    Teams    Settings", fill="white", font=font)
    draw.rectangle((0, 44, 200, height), fill="#e4e7eb")
    for row in range(18):
        draw.text((20, 64 + 34 * row), f"Menu entry {row + 1}", fill="#333333", font=font)
    text = "The quarterly numbers are listed below and were reviewed by the whole team on Monday. "
    for row in range(12):
        draw.text((230, 70 + 24 * row), text[7 * row :] + text[: 7 * row], fill="#111111", font=font)
    for bar, value in enumerate(np.random.default_rng(9).integers(40, 260, 14)):
        draw.rectangle((240 + 52 * bar, 680 - int(value), 276 + 52 * bar, 680), fill="#3b82f6", outline="#1d4ed8")
    return picture
