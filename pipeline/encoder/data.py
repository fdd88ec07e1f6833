"""Photographs for training: read a folder, decode it once to a memory-mapped cache, split, sample, degrade, cut.

A *tile* is a crop of at most 256x256 px of one photograph: never resized, and a JPEG's as found. This module needs only
NumPy and Pillow, so the split can also be used where torch is not wanted.
"""

import csv
import hashlib
import io
import json
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFilter, JpegImagePlugin

from pipeline.encoder.compression import compression_tags

Pixels = npt.NDArray[np.uint8]

TILE = 256
PATCH = 64
TILES_PER_PHOTOGRAPH = 4
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
GRID = 16
"""px: JPEG's blocks lie on multiples of 8 of what is saved, those of halved colour on multiples of 16."""
FIRST_QUALITIES, FIRST_SUBSAMPLINGS = range(80, 99), ("4:2:0", "4:2:2")
"""Of the save that stands in for a camera's, where a file is no JPEG."""
CACHE_FORMAT = 5
"""Goes up when tiles are cut or described in another way: an older cache is then made anew."""
HELD_OUT_SOURCES, HELD_OUT_MODELS = 0.15, 0.08
"""Shares of sources and of camera models kept out of fitting."""
WEIGHING_MODELS = 0.25
"""Share of the camera models held out whose photographs weigh the heads against each other, and so don't calibrate."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Where one tile of the cache comes from."""

    file: str
    photograph: str
    """Tiles of one photograph share it."""
    source: str
    """Repository, or folder, that the photograph was found in."""
    camera: str
    """Camera model; for generated images the generator."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """ExifTool's tag names -> values as text; missing ones are left out."""
    top: int = 0
    left: int = 0
    """Of its corner in the file's image, px."""
    height: int = TILE
    width: int = TILE

    def overlaps(self, other: "Tile") -> bool:
        """Whether they share a pixel of one file."""
        return (
            self.file == other.file
            and self.top < other.top + other.height
            and other.top < self.top + self.height
            and self.left < other.left + other.width
            and other.left < self.left + self.width
        )

    @property
    def held_out(self) -> bool:
        return is_held_out(self.source, self.camera)

    @property
    def weighs(self) -> bool:
        """Whether a photograph held out is one of those that weigh the heads, and not of those that calibrate."""
        return self.held_out and _share(f"weighs:{self.camera}") < WEIGHING_MODELS


def is_held_out(source: str, camera: str) -> bool:
    """Whether a photograph is kept out of fitting: its source or its camera model is one of those held out.

    So every held-out photograph is new in at least one of the two. Deterministic, and the same for everyone who splits.
    """
    return _share(f"source:{source}") < HELD_OUT_SOURCES or _share(f"camera:{camera}") < HELD_OUT_MODELS


def _share(text: str) -> float:
    """A text's fixed place in [0, 1)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


# ---- reading a folder -------------------------------------------------------------------------------------------


def read_folder(folder: Path) -> list[Tile]:
    """One entry per image file, sorted by name: from `manifest.csv` where there is one, else from the files' EXIF.

    Rows with a `duplicate_of` (`lenswatch data scan` fills it) are left out.
    """
    manifest = folder / "manifest.csv"
    if manifest.exists():
        with manifest.open(newline="", encoding="utf-8") as lines:
            entries = [tile_of(row) for row in csv.DictReader(lines) if not row.get("duplicate_of")]
    else:
        files = (f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES)
        entries = [_from_exif(folder, file) for file in files]
    return sorted(entries, key=lambda entry: entry.file)


def tile_of(row: Mapping[str, str]) -> Tile:
    """One row of a manifest. Crops of one photograph share its path; crops of one path that a generator made are of a
    sheet of samples, and are different images."""
    source, file = row.get("source_repo", ""), row["file"]
    return Tile(
        file=file,
        photograph=f"{source}/{file if row.get('generator') else row.get('source_path', file)}",
        source=source,
        camera=row.get("model") or row.get("generator") or "",
        tags={name: value.strip() for name, value in row.items() if name[:1].isupper() and value.strip()},
    )


def _from_exif(folder: Path, file: Path) -> Tile:
    try:
        with Image.open(file) as image:
            exif = image.getexif()
            values = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    except OSError:
        values = {}  # said when it can't be decoded either
    named = {ExifTags.TAGS.get(number, ""): str(value).strip("\0 ") for number, value in values.items()}
    tags = {_EXIFTOOL_NAMES.get(name, name): value for name, value in named.items() if name and value}
    name = file.relative_to(folder).as_posix()
    return Tile(name, name, file.parent.name, tags.get("Model", ""), tags)


_EXIFTOOL_NAMES = {
    "ISOSpeedRatings": "ISO",
    "PhotographicSensitivity": "ISO",
    "ExposureBiasValue": "ExposureCompensation",
    "FocalLengthIn35mmFilm": "FocalLengthIn35mmFormat",
}  # Pillow's names where they differ


# ---- the cache --------------------------------------------------------------------------------------------------


class TileCache:
    """Decoded tiles on disk: `pixels` (n, 256, 256, 3) uint8, memory-mapped, and their `tiles`.

    A tile smaller than 256 px fills the top-left corner (`Tile.height`, `Tile.width`).
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        """Open the cache of `folder` below `cache`, decoding the photographs first if they changed or are new.

        Raises ValueError for a folder without a single usable image.
        """
        entries = read_folder(folder)
        files = [_state(folder / entry.file) for entry in entries]
        stamp = hashlib.sha256(json.dumps([CACHE_FORMAT, files, *map(asdict, entries)]).encode()).hexdigest()[:16]
        index, raw = cache / f"{stamp}.json", cache / f"{stamp}.u8"
        if not index.exists():
            cache.mkdir(parents=True, exist_ok=True)
            _decode(folder, entries, index, raw)
        self.tiles = [Tile(**entry) for entry in json.loads(index.read_text(encoding="utf-8"))]
        self.pixels = np.memmap(raw, np.uint8, "r", shape=(len(self.tiles), TILE, TILE, 3))

    def tile(self, number: int) -> Pixels:
        """(h, w, 3) uint8, each side at most 256."""
        tile = self.tiles[number]
        return self.pixels[number, : tile.height, : tile.width]

    def apart(self, most: int) -> dict[str, list[int]]:
        """Photograph -> the numbers of its first tiles that share no pixel, `most` at most."""
        found: dict[str, list[int]] = {}
        for number, tile in enumerate(self.tiles):
            taken = found.setdefault(tile.photograph, [])
            if len(taken) < most and not any(tile.overlaps(self.tiles[other]) for other in taken):
                taken.append(number)
        return found


def _state(file: Path) -> tuple[int, int] | None:
    """What changes when a file does: size and time; None where it cannot be read."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _decode(folder: Path, entries: Iterable[Tile], index: Path, raw: Path) -> None:
    tiles: list[Tile] = []
    part = raw.with_suffix(".part")
    with part.open("wb") as out:
        for entry in entries:
            compression, crops = _tiles_of(folder / entry.file)
            tags = {**entry.tags, **compression}
            for (top, left), pixels in crops:
                height, width = pixels.shape[:2]
                out.write(np.pad(pixels, ((0, TILE - height), (0, TILE - width), (0, 0))).tobytes())
                place = {"top": top, "left": left, "height": height, "width": width}
                tiles.append(Tile(**{**asdict(entry), "tags": tags, **place}))
    if not tiles:
        raise ValueError(f"{folder} holds no readable image of at least {PATCH} px")
    part.replace(raw)
    index.write_text(json.dumps([asdict(tile) for tile in tiles]), encoding="utf-8")


def _tiles_of(file: Path) -> tuple[dict[str, str], list[tuple[tuple[int, int], Pixels]]]:
    """The compression of a file, and corner and pixels of up to four tiles at fixed random places that are neither flat
    nor saturated.

    Tiles lie on JPEG's grid, as the patches of an upload do, and what is no JPEG is saved as one first: cameras write
    JPEG and generators PNG, and saved again, by a history or a network's augmentation, the one has been saved twice and
    the other once (ADR 17). Nothing of an undecodable or small file.
    """
    random = np.random.default_rng(int(_share(file.name) * 2**32))
    try:
        with Image.open(file) as image:
            compression, pixels = compression_tags(image), np.asarray(image.convert("RGB"))
            if not isinstance(image, JpegImagePlugin.JpegImageFile):  # which one with several pictures (MPO) is, too
                quality, subsampling = random.choice(FIRST_QUALITIES), random.choice(FIRST_SUBSAMPLINGS)
                pixels = jpeg(pixels, int(quality), str(subsampling))
    except OSError as error:
        warnings.warn(f"{file} is left out: {error}", stacklevel=2)
        return {}, []
    height, width = pixels.shape[:2]
    if min(height, width) < PATCH:
        return {}, []
    count = 1 if max(height, width) <= TILE else TILES_PER_PHOTOGRAPH
    corners = [place(pixels, TILE, random, grid=GRID) for _ in range(count)]
    return compression, [((y, x), pixels[y : y + TILE, x : x + TILE]) for y, x in corners]


def is_informative(pixels: Pixels) -> bool:
    """Whether a crop (h, w, 3) says anything about the camera: not flat, and at most half of it saturated or black."""
    luma = pixels.mean(2)
    clipped = (luma < 3) | (luma > 252)
    return bool(luma.std() > 2 and clipped.mean() < 0.5)


def place(pixels: Pixels, size: int, random: np.random.Generator, tries: int = 4, grid: int = 1) -> tuple[int, int]:
    """Corner (y, x), on a grid of `grid` px, of a random crop of `size` px (less where the image is smaller), which is
    informative if `tries` draws find one."""
    height, width = pixels.shape[:2]
    for _ in range(tries):
        y = int(random.integers(max(height - size, 0) // grid + 1)) * grid
        x = int(random.integers(max(width - size, 0) // grid + 1)) * grid
        if is_informative(pixels[y : y + size, x : x + size]):
            break
    return y, x


# ---- sampling ---------------------------------------------------------------------------------------------------


def balanced_weights(tiles: Sequence[Tile]) -> npt.NDArray[np.float64]:
    """Probability of drawing each tile: a (source, camera) group weighs the square root of its photographs.

    By file, series of 30 alike pictures would be seen most; by group alone, single pictures would be seen too often.
    """
    photographs: dict[tuple[str, str], set[str]] = {}
    for tile in tiles:
        photographs.setdefault((tile.source, tile.camera), set()).add(tile.photograph)
    of_photograph: dict[str, int] = {}
    for tile in tiles:
        of_photograph[tile.photograph] = of_photograph.get(tile.photograph, 0) + 1
    weights = np.array(
        [len(photographs[tile.source, tile.camera]) ** -0.5 / of_photograph[tile.photograph] for tile in tiles]
    )
    return weights / weights.sum()


def file_weights(tiles: Sequence[Tile]) -> npt.NDArray[np.float64]:
    """Probability of drawing each tile if every file is drawn equally often."""
    counts = Counter(tile.file for tile in tiles)
    weights = np.array([1 / counts[tile.file] for tile in tiles])
    return weights / weights.sum()


def cut(pixels: Pixels, count: int, random: np.random.Generator) -> Pixels:
    """`count` random informative patches of a tile, in random order (the paper's "scramble"): (count, 64, 64, 3)."""
    corners = [place(pixels, PATCH, random) for _ in range(count)]
    return np.stack([pixels[y : y + PATCH, x : x + PATCH] for y, x in corners])


def degrade(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """One light degradation: JPEG 70-95, resize to 0.5-1, or blur sigma 0.3-1 px."""
    kinds = (jpeg_70_95, resize_down, blur)
    return kinds[random.integers(len(kinds))](pixels, random)


def jpeg(pixels: Pixels, quality: int, subsampling: str = "4:2:0") -> Pixels:
    """The same crop after JPEG at `quality`."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(buffer))


def jpeg_70_95(pixels: Pixels, random: np.random.Generator) -> Pixels:
    return jpeg(pixels, int(random.integers(70, 96)))


def resize_down(pixels: Pixels, random: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    scale = random.uniform(0.5, 1)
    size = (max(PATCH, round(width * scale)), max(PATCH, round(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def turn(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Turned by quarters and mirrored: one of eight ways, all as likely."""
    turned = np.rot90(pixels, int(random.integers(4)))
    return np.ascontiguousarray(turned[:, ::-1] if random.integers(2) else turned)


def blur(pixels: Pixels, random: np.random.Generator) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(random.uniform(0.3, 1))))
