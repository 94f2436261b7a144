"""The released table of the sample footage, in OpenHumanVid's columns.

Belongs here: the CSV. Not here: captions and outcomes (`screenplay`). The quality columns are invented, within the ranges of the
released table (luminance 10-210, blur 0.05-1, aesthetic 4.8-7.2, technical 0.09-0.24, motion 0.5-20).
"""

import csv
import io
from collections.abc import Iterable

import numpy as np

from lafid_assets.sample_footage.scenes import Fault, Scene

COLUMNS = (
    "clip_id",
    "path",
    "caption",
    "luminance_min",
    "luminance_max",
    "blur_min",
    "blur_max",
    "aesthetic",
    "technical_score",
    "global_motion",
)


def table_csv(scenes: Iterable[Scene]) -> str:
    """The table with a row for every scene that has one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for scene in scenes:
        if scene.fault != Fault.NO_ROW:
            writer.writerow((scene.clip_id, scene.path, scene.caption, *_quality(scene)))
    return text.getvalue()


def _quality(scene: Scene) -> tuple[float, ...]:
    rng = np.random.default_rng(scene.seed)
    luminance_min = rng.uniform(70, 95)
    blur_min = rng.uniform(0.15, 0.35)
    values = (
        luminance_min,
        luminance_min + rng.uniform(3, 15),
        blur_min,
        blur_min + rng.uniform(0.02, 0.2),
        rng.uniform(4.8, 6.2),
        rng.uniform(0.09, 0.18),
        rng.uniform(0.8, 6.0),
    )
    return tuple(round(float(value), 4) for value in values)
