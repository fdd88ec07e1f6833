"""The published JSON Schema is the one that the code follows."""

import json
from pathlib import Path

from pipeline.records import UploadEvent

ROOT = Path(__file__).parents[2]


def test_published_schema_is_current():
    published = json.loads((ROOT / "docs" / "schemas" / "upload-event.v1.json").read_text())
    assert published == UploadEvent.model_json_schema()
