"""One examined file as a JSON object, a CSV row, or a row of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.exif import clean_text
from pipeline.records import Examination, Verdict, VerdictKind

CSV_COLUMNS = (
    "file",
    "verdict",
    "reason",
    "log_likelihood",
    "percentile",
    "p_value",
    "ai_probability",
    "make",
    "model",
    "provenance",
    "format",
    "width",
    "height",
    "sha256",
    "detail",
    "milliseconds",
)


def as_json(file: Path, examination: Examination, verdict: Verdict, model: str) -> dict[str, Any]:
    """Everything found out, without embedding and patches. What is not known is null, never left out.

    `model` is the release's name.
    """
    score, exif = examination.score, examination.exif
    return {
        "file": str(file),
        "verdict": verdict.kind.value,
        "reason": verdict.reason,
        "detail": examination.detail,
        "log_likelihood": score and score.log_likelihood,
        "percentile": score and score.percentile,
        "percentile_interval": score and [score.percentile_interval.low, score.percentile_interval.high],
        "p_value": score and score.p_value,
        "full_size_p_value": score and score.full_size_p_value,
        "half_size_p_value": score and score.half_size_p_value,
        "ai_probability": score and score.ai_probability,
        "policy": verdict.policy.thresholds(),
        "exif": dict(exif.tags) if exif else None,
        "exif_warnings": list(exif.warnings) if exif else [],
        "exif_predictions": [asdict(prediction) for prediction in score.exif_predictions] if score else [],
        "provenance": [asdict(claim) for claim in examination.provenance],
        "format": examination.format,
        "width": examination.width,
        "height": examination.height,
        "sha256": examination.sha256 or None,
        "model": model,
        "timings_ms": {stage: round(milliseconds, 3) for stage, milliseconds in examination.timings_ms.items()},
    }


def as_csv_row(answer: Mapping[str, Any]) -> list[object]:
    """`CSV_COLUMNS` of an answer of `as_json`."""
    exif = answer["exif"] or {}
    derived = {
        "make": exif.get("Make"),
        "model": exif.get("Model"),
        "provenance": "; ".join(f"{claim['value']} ({claim['found_in']})" for claim in answer["provenance"]),
        "milliseconds": round(sum(answer["timings_ms"].values()), 1),
    }
    return [spreadsheet_safe(derived[column] if column in derived else answer[column]) for column in CSV_COLUMNS]


def spreadsheet_safe(value: object) -> object:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front (OWASP, CSV injection)."""
    if not isinstance(value, str):
        return value
    text = value.encode("utf-8", "replace").decode()  # file names need not be UTF-8
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


TABLE_COLUMNS = ("file", "verdict", "log-likelihood", "percentile", "AI probability", "claims to be of", "ms")


def as_table_row(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """`TABLE_COLUMNS` of an answer of `as_json`, for a person to read."""
    verdict, exif = answer["verdict"], answer["exif"] or {}
    why = f" ({answer['reason']})" if verdict in (VerdictKind.REJECTED, VerdictKind.NOT_APPLICABLE) else ""
    return (
        clean_text(Path(answer["file"]).name),
        verdict + why,
        _rounded(answer["log_likelihood"], 1),
        _rounded(answer["percentile"], 1),
        _rounded(answer["ai_probability"], 3),
        " ".join(str(exif[name]) for name in ("Make", "Model") if name in exif) or "-",
        _rounded(sum(answer["timings_ms"].values()), 0),
    )


def _rounded(number: float | None, digits: int) -> str:
    return "-" if number is None else f"{number:.{digits}f}"
