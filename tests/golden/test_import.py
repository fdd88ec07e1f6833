"""An imported file of the authors' gives, through our serving code, what their network gave."""

import json

import numpy as np
import pytest

from pipeline.encoder.import_weights import convert
from pipeline.encoder.serve import load_binary, load_encoder
from pipeline.windows import TOGETHER
from tests.paths import SHARED, needs

GOLDEN = SHARED / "golden"

pytestmark = needs(GOLDEN)


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A release folder with both networks."""
    folder = tmp_path_factory.mktemp("imported")
    for file in ("backbone_random.pth", "binary_random.pth"):
        convert(GOLDEN / file, folder)
    return folder


@pytest.fixture(scope="module")
def expected():
    with np.load(GOLDEN / "expected.npz") as archive:
        return dict(archive)


def cases(expected):
    """Of one window: the authors' network looks at all patches at once (ADR 15, 16), and so does ours by itself
    (`test_parity.py`)."""
    for name in expected:
        if name.startswith("patches_") and len(expected[name]) <= TOGETHER:
            case = name.removeprefix("patches_")
            yield case, np.ascontiguousarray(expected[name].transpose(0, 2, 3, 1))


def test_encoder(imported, expected):
    runner = load_encoder(imported)
    for case, patches in cases(expected):
        [output] = runner.embed([patches])
        heads = np.concatenate([expected[f"head{head}_{case}"][0] for head in range(1, 15)])
        np.testing.assert_allclose(output.embedding, expected[f"feature_{case}"][0], atol=1e-4)
        np.testing.assert_allclose(output.patch_features, expected[f"covpool_{case}"][0], atol=1e-4)
        np.testing.assert_allclose(output.exif, heads, atol=1e-4)


def test_binary(imported, expected):
    runner = load_binary(imported)
    for case, patches in cases(expected):
        [probability] = runner.probability([patches])
        assert probability == pytest.approx(expected[f"binary_prob_{case}"][0, 1], abs=1e-5)


def test_classes_that_have_no_name_are_numbered(imported, expected):
    tags = {tag["name"]: tag for tag in json.loads((imported / "encoder.json").read_text())["tags"]}
    assert tags["Make"]["classes"] == [f"class {number}" for number in range(1, expected["head2_0"].shape[1] + 1)]
