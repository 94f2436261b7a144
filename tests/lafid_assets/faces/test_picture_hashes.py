"""Pictures are hashed as densely in long clips as in short ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lafid_assets.faces.picture_hashes import APART_S, CROPS_APART_S, LEAST_CROPPED
from lafid_assets.faces.settings import AnalysisSettings
from lafid_assets.faces.survey import survey_clip
from lafid_assets.pictures.grey import thumbnail
from lafid_assets.pictures.picture_hash import picture_hash
from lafid_assets.schemas import PICTURE_HASHES

RATE = 4
FLAT = 14


@pytest.fixture
def survey(tmp_path: Path, write_video: Callable[..., Path], drawn_engine: Any) -> Callable[..., tuple[list[Any], np.ndarray]]:
    """Films so many seconds of noise with one flat picture; rows of `picture_hashes`, and the pictures."""

    def of(seconds: int, **settings: Any) -> tuple[list[Any], np.ndarray]:
        rough = np.random.default_rng(0).integers(0, 255, (seconds * RATE, 6, 8, 3), np.uint8)
        pictures = rough.repeat(8, axis=1).repeat(8, axis=2)
        pictures[FLAT] = 128
        path = write_video(tmp_path / "clip.mp4", pictures=pictures, fps=RATE, options={"crf": "5", "g": "1"})
        rows = survey_clip("clip", "shard-00000", path, AnalysisSettings(**settings), drawn_engine)
        assert PICTURE_HASHES.violations(PICTURE_HASHES.frame(rows.hashes)) == []
        return rows.hashes, pictures

    return of


def test_between_the_sampled_frames_of_a_long_clip_further_pictures_are_hashed(survey: Callable[..., Any]) -> None:
    rows, pictures = survey(30, max_frames=5)
    times = np.array([row["time_s"] for row in rows])
    assert list(times) == sorted(times)
    assert np.diff(times).max() == pytest.approx(2 * APART_S), "where the flat picture is"
    assert np.sort(np.diff(times))[-2] == pytest.approx(APART_S)
    assert times[-1] > 29
    cropped = np.array([row["time_s"] for row in rows if row["crop_hashes"]])
    assert np.diff(cropped).max() <= CROPS_APART_S + APART_S
    for row in rows:
        told = picture_hash(thumbnail(pictures[round(row["time_s"] * RATE)]))
        assert told is not None
        assert (row["picture_hash"] ^ told).bit_count() <= 10, row["time_s"]


def test_of_a_short_clip_the_sampled_frames_are_enough(survey: Callable[..., Any]) -> None:
    rows, _ = survey(5)
    assert [round(row["time_s"] * RATE) for row in rows] == [n for n in range(5 * RATE) if n != FLAT]
    assert sum(row["crop_hashes"] is not None for row in rows) == LEAST_CROPPED
