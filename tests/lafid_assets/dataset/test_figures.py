"""Charts: drawn for all data, the same every time."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from lafid_assets.dataset.figures import GREYS, HATCHES, funnel_png, identities_png, pose_png, similarity_png, speech_png
from lafid_assets.outcomes import Status
from lafid_assets.schemas import DATASET_REPORT, FACE_INFO, SIMILARITY_BY_POSE_GAP

COLUMNS = ("status", "step", "reason", "clips", "dataset_version")


def _counts(*rows: tuple[str, str, str, int]) -> pl.DataFrame:
    return DATASET_REPORT.frame(dict(zip(COLUMNS, (*row, "v"), strict=True)) for row in rows)


def _picture(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"))


def test_every_way_to_end_has_a_look_of_its_own() -> None:
    ways = {"kept", *map(str, Status)} - {"ok"}
    assert set(HATCHES) == set(GREYS) == ways
    assert len(set(HATCHES.values())) == len(ways), "told apart in black and white"


def test_funnel_has_a_bar_for_every_line() -> None:
    short = funnel_png(_counts(("kept", "", "", 3)))
    long = funnel_png(_counts(("kept", "", "", 3), ("rejected", "p", "no_face", 2), ("error", "r", "unreadable", 1)))
    assert _picture(long).shape[0] > _picture(short).shape[0]
    assert _picture(short).std() > 5
    assert funnel_png(_counts(("kept", "", "", 3))) == short


def test_empty_funnel_is_a_picture_too() -> None:
    assert _picture(funnel_png(_counts())).size


def test_pose_shows_kept_clips_apart(row_of: Callable[..., dict[str, Any]]) -> None:
    faces = FACE_INFO.frame(
        row_of(FACE_INFO, clip_id=clip, frame_index=n, face_index=0, yaw_deg=10.0 * n, pitch_deg=0.0, roll_deg=0.0)
        for clip in "ab"
        for n in range(4)
    )
    all_kept = _picture(pose_png(faces, pl.Series(["a", "b"])))
    none_kept = _picture(pose_png(faces, pl.Series([], dtype=pl.String)))
    assert all_kept.shape == none_kept.shape
    assert all_kept.mean() < none_kept.mean()


def test_pose_without_faces_is_a_picture_too() -> None:
    assert _picture(pose_png(FACE_INFO.frame([]), pl.Series([], dtype=pl.String))).size


def test_persons_and_speech_are_drawn_from_counts() -> None:
    often = _picture(identities_png(pl.Series(["p"] * 5 + ["q"])))
    seldom = _picture(identities_png(pl.Series(["p", "q", "r"])))
    assert often.shape == seldom.shape
    assert (often != seldom).any()
    silent, spoken = (_picture(speech_png(pl.Series([status] * 4))) for status in ("silent", "on_screen"))
    assert (silent != spoken).any()


def test_empty_dataset_has_pictures_of_persons_and_speech_too() -> None:
    nobody = pl.Series([], dtype=pl.String)
    assert _picture(identities_png(nobody)).size
    assert _picture(speech_png(nobody)).size


def test_similarity_is_drawn_by_engine_with_and_without_measured_pairs(row_of: Callable[..., dict[str, Any]]) -> None:
    def curve(**values: Any) -> np.ndarray:
        rows = [
            row_of(SIMILARITY_BY_POSE_GAP, gap_from_deg=gap, gap_to_deg=gap + 10, expected=0.9 - gap / 100, spread=0.1, **values)
            for gap in (0, 10, 20)
        ]
        return _picture(similarity_png(SIMILARITY_BY_POSE_GAP.frame(rows)))

    bare, measured = curve(pairs=0), curve(pairs=5, measured=0.5)
    assert bare.shape == measured.shape
    assert (bare != measured).any()
    assert _picture(similarity_png(SIMILARITY_BY_POSE_GAP.frame([]))).size
