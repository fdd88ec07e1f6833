"""A camera simulated from scene to file, for samples that need no licence.

Linear scene -> lens blur -> Bayer mosaic -> shot and read noise -> bilinear demosaic -> white balance -> tone curve
-> JPEG 4:2:0 with EXIF: the steps that leave in a photograph the traces that the detector looks for. It is a sample
of a camera's pipeline and of no real camera.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

Linear = NDArray[np.float64]
"""Linear light, (height, width, 3), 1 = the sensor is full."""

WHITE_BALANCE = np.array([1.9, 1.0, 1.6])
"""Gains that make grey grey again: a sensor's red and blue pixels see less."""


@dataclass(frozen=True, slots=True)
class SimulatedCamera:
    model: str
    iso: int
    exposure_time: Fraction
    """s"""
    f_number: float
    focal_length: float
    """mm"""
    jpeg_quality: int

    def photograph(self, scene: Linear, seed: int) -> bytes:
        """The JPEG file that this camera makes of the scene."""
        random = np.random.default_rng(seed)
        seen = _blur(scene, sigma=0.35 + 0.05 * self.f_number) / WHITE_BALANCE
        raw = self._expose(_mosaic(seen), random)
        balanced = np.clip(_demosaic(raw) * WHITE_BALANCE, 0, 1)
        file = io.BytesIO()
        image = Image.fromarray(np.round(255 * _tone(balanced)).astype(np.uint8))
        image.save(file, "JPEG", quality=self.jpeg_quality, subsampling="4:2:0", exif=self._exif())
        return file.getvalue()

    def _expose(self, light: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
        """Add shot noise (variance proportional to the light) and read noise; both grow with the ISO. 12 bits."""
        electrons_when_full = 20_000 * 100 / self.iso
        read_noise = 3 / electrons_when_full
        deviation = np.sqrt(light / electrons_when_full + read_noise**2)
        return np.round(4095 * np.clip(light + random.normal(size=light.shape) * deviation, 0, 1)) / 4095

    def _exif(self) -> Image.Exif:
        exif, base = Image.Exif(), ExifTags.Base
        exif[base.Make], exif[base.Model], exif[base.Orientation] = "Lenswatch", self.model, 1
        exif[base.Software] = "SimCam firmware 1.0"
        settings = exif.get_ifd(ExifTags.IFD.Exif)
        settings[base.ExposureTime] = IFDRational(self.exposure_time)
        settings[base.FNumber] = IFDRational(Fraction(str(self.f_number)))
        settings[base.FocalLength] = IFDRational(Fraction(str(self.focal_length)))
        settings[base.FocalLengthIn35mmFilm] = round(1.5 * self.focal_length)
        settings[base.ISOSpeedRatings] = self.iso
        settings[base.ExposureProgram] = 2  # normal programme
        settings[base.MeteringMode] = 5  # pattern
        settings[base.Flash] = 16  # did not fire
        settings[base.ExposureMode] = settings[base.WhiteBalance] = settings[base.SceneCaptureType] = 0
        settings[base.ColorSpace] = 1  # sRGB
        settings[base.DateTimeOriginal] = "2026:01:02 03:04:05"
        return exif


def landscape(height: int, width: int, seed: int) -> Linear:
    """A scene made up of a sky, hills with grain, and a few coloured blocks in light and shadow."""
    random = np.random.default_rng(seed)
    y = np.mgrid[0:height, 0:width][0] / height
    sky = np.stack([0.25 + 0.2 * y, 0.4 + 0.2 * y, 0.75 - 0.1 * y], axis=-1)
    sky += 0.15 * fractal_noise(height, width, 1.6, random)[..., None]
    scene = sky
    for distance in (0.45, 0.6, 0.75):
        ridge = distance + 0.08 * fractal_noise(1, width, 1.8, random)[0]
        soil = random.uniform(0.1, 0.3) * random.uniform([0.9, 0.8, 0.4], [1.2, 1.2, 0.8])
        soil = soil * (1 + 0.3 * fractal_noise(height, width, 0.9, random)[..., None])
        scene = np.where((y > ridge)[..., None], soil, scene)
    for _ in range(12):
        size = int(random.uniform(0.03, 0.15) * height)
        top, left = int(random.uniform(0.55, 0.9) * height), int(random.uniform(0, 0.9) * width)
        block = scene[top : top + size, left : left + 2 * size]
        row, column = np.mgrid[0 : block.shape[0], 0 : block.shape[1]]
        bricks = 1 + 0.2 * ((row // 4 + column // 7) % 2)
        shadow = 1 - 0.5 * column / (2 * size)
        block[:] = random.uniform(0.05, 0.6, 3) * (bricks * shadow)[..., None]
    return np.asarray(np.clip(scene, 0.002, 1))


def fractal_noise(height: int, width: int, exponent: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Noise whose amplitude falls as 1 / frequency ** exponent, as in natural scenes; mean 0, deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(random.normal(size=(height, width))) / frequency**exponent
    noise = np.fft.irfft2(spectrum, s=(height, width))
    return np.asarray(noise / noise.std())


def _blur(scene: Linear, sigma: float) -> Linear:
    """Gaussian blur, sigma in px."""
    height, width = scene.shape[:2]
    squared = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width)[None, :] ** 2
    transfer = np.exp(-2 * (np.pi * sigma) ** 2 * squared)[..., None]
    return np.asarray(np.fft.irfft2(np.fft.rfft2(scene, axes=(0, 1)) * transfer, s=(height, width), axes=(0, 1)))


def _bayer(height: int, width: int) -> NDArray[np.float64]:
    """1 where a pixel of an RGGB sensor has the channel's filter, (height, width, 3)."""
    filters = np.zeros((height, width, 3))
    filters[0::2, 0::2, 0] = filters[0::2, 1::2, 1] = filters[1::2, 0::2, 1] = filters[1::2, 1::2, 2] = 1
    return filters


def _mosaic(scene: Linear) -> NDArray[np.float64]:
    """What each pixel's filter lets through, (height, width)."""
    return np.asarray(np.clip((scene * _bayer(*scene.shape[:2])).sum(axis=-1), 0, 1))


def _demosaic(raw: NDArray[np.float64]) -> Linear:
    """Bilinear: each missing value is the mean of its neighbours that have it."""
    filters = _bayer(*raw.shape)
    return _around(raw[..., None] * filters) / _around(filters)


def _around(planes: Linear) -> Linear:
    """Sum over the 3x3 neighbourhood with weights 1 2 1 / 2 4 2 / 1 2 1."""
    for axis in (0, 1):
        padding = [(1, 1) if axis == index else (0, 0) for index in range(3)]
        padded = np.pad(planes, padding, mode="reflect")
        before, after = np.delete(padded, [-1, -2], axis), np.delete(padded, [0, 1], axis)
        planes = before + 2 * planes + after
    return planes


def _tone(linear: Linear) -> Linear:
    """sRGB's curve, with a little more contrast, as cameras apply."""
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.clip(0.85 * encoded + 0.15 * encoded**2 * (3 - 2 * encoded), 0, 1))
