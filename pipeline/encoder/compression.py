"""How a JPEG file was compressed, as two more tags of the pretext task: the file states them, and pixels show them."""

import math

from PIL import Image, JpegImagePlugin

SAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
"""Pillow's numbers."""


def compression_tags(image: Image.Image) -> dict[str, str]:
    """`JpegQuantisation` and `ChromaSubsampling` of an opened file; nothing for one that is no JPEG.

    The quantisation is the mean step of the first table (luma), in half octaves: 1 is the finest there is, libjpeg's
    quality 75 has 28.6. Cameras have tables of their own, so a quality number would be an invention.
    """
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return {}
    tags = {}
    if table := image.quantization.get(0):  # 64 steps
        octaves = round(2 * math.log2(sum(table) / len(table))) / 2
        tags["JpegQuantisation"] = f"{2**octaves:.1f}"
    if sampling := SAMPLINGS.get(JpegImagePlugin.get_sampling(image)):
        tags["ChromaSubsampling"] = sampling  # a grey image has none
    return tags
