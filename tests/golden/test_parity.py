"""Our network gives what the authors' gives, on their own recorded outputs (random weights, fp32)."""

import pytest
import torch

from pipeline.encoder.import_weights import load_encoder, verify
from tests.paths import SHARED, needs

GOLDEN = SHARED / "golden"
TOLERANCE = {"feature": 1e-4, "covpool": 1e-4, "heads": 1e-4, "binary_prob": 1e-5}

pytestmark = needs(GOLDEN)


@pytest.mark.parametrize("folded", [False, True], ids=["as in the paper", "7x7 stem, as trained and served"])
def test_outputs_equal_the_authors(folded):
    differences = verify(GOLDEN, folded=folded)
    assert differences.keys() == TOLERANCE.keys()
    too_large = {family: found for family, found in differences.items() if found > TOLERANCE[family]}
    assert not too_large


def test_a_file_without_our_filters_is_refused(tmp_path):
    state = torch.load(GOLDEN / "backbone_random.pth", weights_only=True)
    state["state_net"]["module.backbone.group1.hpf.weight"] *= 2
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="SRM"):
        load_encoder(tmp_path / "other.pth")
