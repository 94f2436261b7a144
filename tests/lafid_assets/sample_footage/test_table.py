"""The released table."""

import csv
import io

from lafid_assets.ingest.openhumanvid import MEASURES
from lafid_assets.sample_footage.scenes import Fault
from lafid_assets.sample_footage.screenplay import SCENES
from lafid_assets.sample_footage.table import table_csv

RELEASED_RANGES = {
    "luminance_min": (10, 209),
    "luminance_max": (10, 210),
    "blur_min": (0.05, 0.98),
    "blur_max": (0.05, 1),
    "aesthetic": (4.8, 7.14),
    "technical_score": (0.09, 0.24),
    "global_motion": (0.5, 20),
}


def rows() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table_csv(SCENES))))


def test_it_has_openhumanvids_columns() -> None:
    assert tuple(rows()[0]) == ("clip_id", "path", "caption", *MEASURES)


def test_every_scene_has_its_row_but_the_one_without() -> None:
    listed = {row["clip_id"]: row for row in rows()}
    assert set(listed) == {scene.clip_id for scene in SCENES if scene.fault != Fault.NO_ROW}
    assert all(
        listed[s.clip_id]["caption"] == s.caption and listed[s.clip_id]["path"] == s.path for s in SCENES if s.clip_id in listed
    )


def test_quality_lies_within_the_released_ranges_and_differs() -> None:
    for column, (lowest, highest) in RELEASED_RANGES.items():
        values = [float(row[column]) for row in rows()]
        assert lowest <= min(values) < max(values) <= highest
    assert all(float(row["luminance_min"]) <= float(row["luminance_max"]) for row in rows())
    assert all(float(row["blur_min"]) <= float(row["blur_max"]) for row in rows())
