"""Which origins a file's tags claim."""

import pytest

from pipeline.provenance import find_claims


@pytest.mark.parametrize(
    ("raw", "claims"),
    [
        ({}, []),
        ({"EXIF:Make": "Canon", "EXIF:Software": "Digital Photo Professional"}, []),
        ({"PNG:Parameters": "a cat\nSteps: 25, Sampler: Euler"}, [("generator", "Stable Diffusion")]),
        ({"EXIF:UserComment": "a cat\nSteps: 25, Sampler: Euler a"}, [("generator", "Stable Diffusion")]),  # its JPEGs
        ({"PNG:Prompt": "{}", "PNG:Workflow": "{}"}, [("generator", "ComfyUI")] * 2),
        ({"PNG:Software": "NovelAI"}, [("generator", "NovelAI")]),
        ({"PNG:Invokeai_metadata": "{}"}, [("generator", "InvokeAI")]),
        ({"EXIF:Software": "Midjourney"}, [("generator", "Midjourney")]),
        (
            {"PNG:Description": "a cat --v 6.1 Job ID: 01234567-89ab-cdef-0123-456789abcdef"},
            [("generator", "Midjourney")],
        ),
        ({"XMP:CreatorTool": "Adobe Firefly"}, [("generator", "Adobe Firefly")]),
        ({"JUMBF:Claim_generator": "OpenAI-API"}, [("generator", "DALL-E")]),
        ({"JUMBF:ActionsSoftwareAgentName": ["GPT-4o", "OpenAI API"]}, [("generator", "DALL-E")]),
        ({"XMP:Credit": "Made with Google AI"}, [("generator", "Google AI")]),
        # People may write any name where people write.
        ({"EXIF:ImageDescription": "my answer to Midjourney"}, []),
        ({"PNG:Description": "imagen de la ciudad"}, []),
        (
            {"XMP:DigitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"},
            [("iptc_digital_source_type", "trainedAlgorithmicMedia")],
        ),
        (
            {"JUMBF:ActionsDigitalSourceType": ["http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"]},
            [("iptc_digital_source_type", "digitalCapture")],
        ),
        ({"JUMBF:JUMDLabel": "c2pa", "JUMBF:JUMDType": "6332"}, [("c2pa", "present, not verified")]),
        ({"JUMBF:JUMDLabel": "something.else"}, []),
        ({"XMP:Provenance": "https://x.example/m"}, [("c2pa", "present (kept elsewhere), not verified")]),
    ],
)
def test_claims(raw, claims):
    assert [(claim.kind, claim.value) for claim in find_claims(raw)] == claims


def test_a_claim_names_its_tag_and_is_clean():
    [claim] = find_claims({"XMP:DigitalSourceType": "x/\0evil\n" + "y" * 5000})
    assert claim.found_in == "XMP:DigitalSourceType"
    assert claim.value.startswith("evilyy")
    assert len(claim.value) <= 200


def test_values_of_any_kind_are_looked_at():
    assert find_claims({"EXIF:Software": 5, "PNG:Comment": None, "JUMBF:JUMDLabel": ["c2pa"], "XMP:Credit": {"a": 1}})
