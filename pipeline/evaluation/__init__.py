"""How well a release tells photographs from AI images: image -> `Scored` under each condition -> figures and flips.

::

    labels.py      folder -> images with their camera make or generator
    conditions.py  what is done to an image before it is scored
    scoring.py     image, condition -> Scored
    figures.py     suspicions -> AUROC, AP, TPR and FPR with intervals
    flips.py       verdicts of one image under two conditions -> what became of them
    report.py      all of it as the JSON that `lenswatch eval` writes
"""

from pipeline.evaluation.conditions import CONDITIONS, STANDING, degrade
from pipeline.evaluation.figures import (
    Figure,
    as_json,
    auroc,
    average_precision,
    fpr_at_promise,
    measure,
    share,
    tpr_at_fpr,
)
from pipeline.evaluation.flips import count_flips
from pipeline.evaluation.labels import LabelledImage, list_images
from pipeline.evaluation.report import report
from pipeline.evaluation.scoring import HEADS, Scored, Scoring

__all__ = [
    "CONDITIONS",
    "HEADS",
    "STANDING",
    "Figure",
    "LabelledImage",
    "Scored",
    "Scoring",
    "as_json",
    "auroc",
    "average_precision",
    "count_flips",
    "degrade",
    "fpr_at_promise",
    "list_images",
    "measure",
    "report",
    "share",
    "tpr_at_fpr",
]
