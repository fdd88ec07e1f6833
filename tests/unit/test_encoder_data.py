"""The training data: reading a folder, the cache, splits, sampling, crops."""

import csv

import numpy as np
import pytest
from PIL import Image

from pipeline.encoder.compression import compression_tags
from pipeline.encoder.data import (
    FIRST_QUALITIES,
    FIRST_SUBSAMPLINGS,
    GRID,
    Tile,
    TileCache,
    balanced_weights,
    cut,
    degrade,
    file_weights,
    is_held_out,
    is_informative,
    jpeg,
    place,
    read_folder,
    tile_of,
    turn,
)
from tests.images import camera_jpeg, flat, photo


@pytest.fixture
def random():
    return np.random.default_rng(0)


def place_of(image, tile):
    """Corner of the window of the image that the tile is, found by its first pixel; None if it is none."""
    height, width = tile.shape[:2]
    places = np.argwhere((image == tile[0, 0]).all(2))
    windows = (place for place in places if np.array_equal(image[place[0] :, place[1] :][:height, :width], tile))
    return next(windows, None)


def test_a_jpeg_says_how_it_was_compressed(tmp_path):
    found = {}
    for subsampling, quality in (("4:4:4", 100), ("4:2:2", 90), ("4:2:0", 75)):
        Image.fromarray(photo()).save(tmp_path / "x.jpg", quality=quality, subsampling=subsampling)
        with Image.open(tmp_path / "x.jpg") as image:
            found[quality] = compression_tags(image)
        assert found[quality]["ChromaSubsampling"] == subsampling
    # libjpeg's luma table has a mean step of 57.6 at quality 50, half of that at 75, a fifth at 90
    assert [tags["JpegQuantisation"] for tags in found.values()] == ["1.0", "11.3", "32.0"]
    Image.fromarray(photo()[:, :, 0]).save(tmp_path / "grey.jpg", quality=75)
    with Image.open(tmp_path / "grey.jpg") as image:
        assert compression_tags(image) == {"JpegQuantisation": "32.0"}
    assert compression_tags(Image.fromarray(photo())) == {}


def test_the_cache_knows_how_files_were_compressed(tmp_path):
    Image.fromarray(photo()).save(tmp_path / "a.jpg", quality=90, subsampling="4:4:4")
    Image.fromarray(photo()).save(tmp_path / "b.png")
    jpeg, png = TileCache(tmp_path, tmp_path / "cache").tiles
    assert jpeg.tags["ChromaSubsampling"] == "4:4:4"
    assert "ChromaSubsampling" not in png.tags


def test_tiles_of_an_image_that_are_apart_share_no_pixel(tmp_path):
    Image.fromarray(photo(384, 384)).save(tmp_path / "small.jpg", quality=90)  # no room for two
    Image.fromarray(photo(1500, 2000)).save(tmp_path / "large.jpg", quality=90)
    cache = TileCache(tmp_path, tmp_path / "cache")
    apart = cache.apart(2)
    assert {name: len(numbers) for name, numbers in apart.items()} == {"large.jpg": 2, "small.jpg": 1}
    first, second = (cache.tiles[number] for number in apart["large.jpg"])
    assert abs(first.top - second.top) >= 256 or abs(first.left - second.left) >= 256
    with Image.open(tmp_path / "large.jpg") as image:
        pixels = np.asarray(image)[first.top : first.top + 256, first.left : first.left + 256]
    np.testing.assert_array_equal(cache.tile(apart["large.jpg"][0]), pixels)


def test_tiles_of_another_file_are_no_overlap():
    one, other = (Tile(file, "photograph", "s", "c") for file in ("a.jpg", "b.jpg"))
    assert one.overlaps(one)
    assert not one.overlaps(other)
    assert not one.overlaps(Tile("a.jpg", "photograph", "s", "c", left=256))
    assert one.overlaps(Tile("a.jpg", "photograph", "s", "c", left=240, top=240))


def test_a_file_that_changed_is_decoded_again(tmp_path):
    Image.fromarray(photo()).save(tmp_path / "a.png")
    before = TileCache(tmp_path, tmp_path / "cache").tile(0).mean()
    Image.fromarray(photo() // 2).save(tmp_path / "a.png")
    assert TileCache(tmp_path, tmp_path / "cache").tile(0).mean() < 0.7 * before


def test_by_file_every_file_is_drawn_equally_often():
    tiles = [Tile(file, file, source="s", camera="c") for file in ("a", "b", "b", "b")]
    np.testing.assert_allclose(file_weights(tiles), [1 / 2, 1 / 6, 1 / 6, 1 / 6])


def test_a_manifest_names_source_camera_and_tags(tmp_path):
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "source_repo", "source_path", "model", "Make", "ISO", "FNumber"])
        writer.writerow(["b.jpg", "someone/pictures", "x/1.jpg", "X100", "FUJIFILM", "200", ""])
        writer.writerow(["a.jpg", "someone/pictures", "x/1.jpg", "X100", "FUJIFILM", "200", ""])
    first, second = read_folder(tmp_path)
    assert (first.file, second.file) == ("a.jpg", "b.jpg")
    assert first.photograph == second.photograph
    assert (first.source, first.camera) == ("someone/pictures", "X100")
    assert first.tags == {"Make": "FUJIFILM", "ISO": "200"}


def test_a_jpeg_of_several_pictures_is_one(tmp_path):
    """Pillow calls what many phones write MPO."""
    first, second = (Image.fromarray(photo(256, 256, seed=seed)) for seed in (0, 1))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == "MPO"
        np.testing.assert_array_equal(TileCache(tmp_path, tmp_path / "cache").tile(0), np.asarray(image))


def test_samples_of_one_sheet_are_different_images():
    row = {"source_repo": "someone/model", "source_path": "samples.png"}
    camera, generated = ({**row, "model": "X100"}, {**row, "generator": "Some Diffusion 3"})
    crops, samples = ([tile_of({**kind, "file": file}) for file in ("a.png", "b.png")] for kind in (camera, generated))
    assert crops[0].photograph == crops[1].photograph
    assert samples[0].photograph != samples[1].photograph
    assert samples[0].camera == "Some Diffusion 3"


def test_without_a_manifest_the_files_exif_is_read(tmp_path):
    (tmp_path / "trip").mkdir()
    (tmp_path / "trip" / "1.jpg").write_bytes(camera_jpeg(model="Z9", ISOSpeedRatings=400, FNumber=2.8))
    (tile,) = read_folder(tmp_path)
    assert (tile.file, tile.source, tile.camera) == ("trip/1.jpg", "trip", "Z9")
    assert tile.tags["ISO"] == "400"
    assert float(tile.tags["FNumber"]) == pytest.approx(2.8)


def test_the_cache_keeps_pixels_as_found(tmp_path):
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    for name, pixels in (("a", photo(100, 252)), ("b", photo(600, 700, seed=1))):
        Image.fromarray(pixels).save(data / f"{name}.jpg")
    small, large = (np.asarray(Image.open(data / f"{name}.jpg")) for name in "ab")
    opened = TileCache(data, cache)
    assert [tile.file for tile in opened.tiles] == ["a.jpg"] + 4 * ["b.jpg"]
    np.testing.assert_array_equal(opened.tile(0), small)
    places = [place_of(large, opened.tile(number)) for number in range(1, 5)]
    assert not np.any(np.array(places) % GRID)  # a JPEG's blocks stay where they are
    assert len({tuple(place) for place in places}) > 1
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    TileCache(data, cache)
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == before  # decoded once


def test_what_is_no_jpeg_is_saved_as_one_first(tmp_path):
    """Cameras write JPEG: a generated PNG would be told by the save that it lacks, and a photograph by its own."""
    pixels = photo(256, 256)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    tile = TileCache(tmp_path, tmp_path / "cache").tile(0)
    saves = (jpeg(pixels, quality, colour) for quality in FIRST_QUALITIES for colour in FIRST_SUBSAMPLINGS)
    assert sum(np.array_equal(tile, saved) for saved in saves) == 1


@pytest.mark.parametrize("manifest", ["file\nbroken.jpg\ngood.jpg\n", None], ids=["manifest", "no manifest"])
def test_a_file_that_is_no_image_is_left_out(manifest, tmp_path):
    if manifest:
        (tmp_path / "manifest.csv").write_text(manifest)
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "good.jpg").write_bytes(camera_jpeg())
    with pytest.warns(UserWarning, match="left out"):
        assert [tile.file for tile in TileCache(tmp_path, tmp_path / "cache").tiles] == ["good.jpg"]


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no readable image"):
        TileCache(tmp_path, tmp_path / "cache")


def test_a_held_out_source_is_held_out_with_all_its_cameras():
    held_out = next(name for name in map(str, range(100)) if is_held_out(name, "common camera"))
    assert not is_held_out("another", "common camera")
    assert all(is_held_out(held_out, camera) for camera in map(str, range(50)))


def test_about_a_fifth_is_held_out():
    share = np.mean([is_held_out(f"source {n}", f"camera {n}") for n in range(4000)])
    assert share == pytest.approx(1 - 0.85 * 0.92, abs=0.03)


def test_sampling_is_balanced_between_groups_and_within_photographs():
    tiles = [Tile(f"{n}", f"series {n // 2}", "a", "X") for n in range(32)] + [Tile("one", "one", "b", "Y")]
    weights = balanced_weights(tiles)
    assert weights.sum() == pytest.approx(1)
    series, single = weights[:32].sum(), weights[32]
    assert series / single == pytest.approx(4)  # the root of 16 photographs
    assert np.ptp(weights[:32]) == pytest.approx(0)


@pytest.mark.parametrize(
    ("pixels", "informative"),
    [(photo(64, 64), True), (flat(64, 64), False), (np.where(photo(64, 64) > 100, 255, 0).astype(np.uint8), False)],
    ids=["photo", "flat", "clipped"],
)
def test_informative(pixels, informative):
    assert is_informative(pixels) == informative


def test_flat_places_are_avoided(random):
    pixels = flat(256, 256).copy()
    pixels[:, 128:] = photo(256, 128)
    corners = [place(pixels, 64, random, tries=10) for _ in range(30)]
    found = [is_informative(pixels[y : y + 64, x : x + 64]) for y, x in corners]
    assert np.mean(found) > 0.9


def test_patches_are_cut_from_the_tile(random):
    tile = photo(256, 256)
    patches = cut(tile, 5, random)
    assert patches.shape == (5, 64, 64, 3)
    assert patches.dtype == np.uint8
    assert len({patch.tobytes() for patch in patches}) == 5


def test_degradations_change_the_picture_lightly_and_leave_room_for_a_patch(random):
    tile = photo(100, 256)
    for _ in range(12):
        degraded = degrade(tile, random)
        assert min(degraded.shape[:2]) >= 64
        assert degraded.shape != tile.shape or 0 < np.abs(degraded.astype(float) - tile).mean() < 10


def test_an_image_is_turned_in_one_of_eight_ways(random):
    tile = photo(64, 48)
    ways = {turned.tobytes() for turned in (turn(tile, random) for _ in range(100))}
    quarters = [np.rot90(tile, quarter) for quarter in range(4)]
    assert ways == {np.ascontiguousarray(way).tobytes() for way in [*quarters, *(q[:, ::-1] for q in quarters)]}
