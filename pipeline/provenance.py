"""What a file says about its own origin: claims to report beside a score, never proof and never part of the score.

A pure function of the raw tags. C2PA manifests are only found here, not verified; whoever needs their integrity and
signer checks them with a C2PA validator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.exif import clean_text
from pipeline.records import ProvenanceClaim

_SIGNED_TAGS = (
    "EXIF:Software",
    "EXIF:Artist",
    "IPTC:OriginatingProgram",
    "IPTC:Credit",
    "JUMBF:Claim_generator",
    "JUMBF:Claim_Generator_InfoName",
    "JUMBF:ActionsSoftwareAgent",
    "JUMBF:ActionsSoftwareAgentName",
    "PNG:Author",
    "PNG:Software",
    "PNG:Source",
    "XMP:AISystemUsed",
    "XMP:CreatorTool",
    "XMP:Credit",
    "XMP:HistorySoftwareAgent",
    "XMP:Software",
)
"""Tags in which programs and services sign by name."""

_GENERATORS = {
    "Stable Diffusion": r"stable ?diffusion|sdxl|automatic1111|\bdreamstudio\b|\bstability\.?ai\b",
    "ComfyUI": r"comfyui",
    "Midjourney": r"midjourney",
    "NovelAI": r"novelai",
    "InvokeAI": r"invoke ?ai",
    "DALL-E": r"\bdall[-·. ]?e\b|\bopenai\b|\bgpt-4o\b|\bchatgpt\b|\bgpt-image\b",
    "Adobe Firefly": r"\bfirefly\b",
    "Google AI": r"\bgoogle (generative )?ai\b|\bimagen\b|\bgemini\b",
    "Bing Image Creator": r"\bimage creator\b|\bmicrosoft designer\b",
    "Flux": r"black forest labs|\bflux\.[12]\b",
    "Leonardo.Ai": r"\bleonardo\.?ai\b",
    "Ideogram": r"\bideogram\b",
    "Fooocus": r"\bfooocus\b",
    "Draw Things": r"\bdraw things\b",
}
"""Generator -> its names in those tags (case-insensitive)."""

_PROSE_TAGS = ("EXIF:ImageDescription", "EXIF:UserComment", "PNG:Comment", "PNG:Description", "XMP:Description")
"""Tags in which people write too: there a name alone is no claim, only the form of a generator's record is."""

_RECORDS = {
    "Stable Diffusion": r"\bsteps: \d+, sampler:",
    "Midjourney": r"--v \d+(\.\d+)?\b.*\bjob id: [0-9a-f-]{36}",
    "NovelAI": r'"request_type": ?"promptgenerate|"signed_hash"',
}

_GENERATOR_CHUNKS = {
    "PNG:Parameters": "Stable Diffusion",
    "PNG:Sd-metadata": "InvokeAI",
    "PNG:Invokeai_metadata": "InvokeAI",
    "PNG:Invokeai_graph": "InvokeAI",
    "PNG:Dream": "InvokeAI",
    "PNG:Workflow": "ComfyUI",
    "PNG:Prompt": "ComfyUI",
}
"""PNG text chunks, by ExifTool's names, that only generators write."""

_SEARCHES = [
    (key, name, re.compile(pattern, re.IGNORECASE | re.DOTALL))
    for keys, patterns in ((_SIGNED_TAGS, _GENERATORS), (_PROSE_TAGS, _RECORDS))
    for key in keys
    for name, pattern in patterns.items()
]
MAX_CLAIMS = 50
"""Kept of one file's: what it says more often than that is no further claim."""

_SEARCHED = 4000
"""Characters of a value that are searched: prompts may be very long."""


def find_claims(raw: Mapping[str, Any]) -> tuple[ProvenanceClaim, ...]:
    """All claims of one file, in a fixed order, without repetition."""
    return tuple(dict.fromkeys((*_c2pa(raw), *_digital_source_types(raw), *_generators(raw))))[:MAX_CLAIMS]


# A tag's name is the file's too, where it is made from an XMP property, a text chunk's keyword or a JUMBF label.


def _c2pa(raw: Mapping[str, Any]) -> Iterator[ProvenanceClaim]:
    for key, value in raw.items():
        if key == "XMP:Provenance" or (key.startswith("JUMBF:JUMDLabel") and "c2pa" in str(value).lower()):
            where = " (kept elsewhere)" if key == "XMP:Provenance" else ""
            yield ProvenanceClaim("c2pa", f"present{where}, not verified", clean_text(key))


def _digital_source_types(raw: Mapping[str, Any]) -> Iterator[ProvenanceClaim]:
    """IPTC's vocabulary, http://cv.iptc.org/newscodes/digitalsourcetype; a C2PA action may state it as well."""
    for key, value in raw.items():
        if key.lower().endswith("digitalsourcetype"):
            for item in value if isinstance(value, list) else [value]:
                term = clean_text(str(item).rsplit("/", 1)[-1])
                yield ProvenanceClaim("iptc_digital_source_type", term, clean_text(key))


def _generators(raw: Mapping[str, Any]) -> Iterator[ProvenanceClaim]:
    for key, name in _GENERATOR_CHUNKS.items():
        if key in raw:
            yield ProvenanceClaim("generator", name, key)
    for key, name, pattern in _SEARCHES:
        if key in raw and pattern.search(str(raw[key])[:_SEARCHED]):
            yield ProvenanceClaim("generator", name, key)
