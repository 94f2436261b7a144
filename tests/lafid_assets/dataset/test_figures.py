"""Charts: drawn for all data, the same every time."""

import io

import numpy as np
import polars as pl
from PIL import Image

from lafid_assets.dataset.figures import (
    GREYS,
    HATCHES,
    expression_png,
    funnel_png,
    identities_png,
    pose_png,
    references_png,
    similarity_png,
    speech_png,
)
from lafid_assets.outcomes import Status
from lafid_assets.schemas import DATASET_REPORT
from lafid_assets.schemas.measures import EXPRESSIONS

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
    dropped_early = ("rejected", "f", "no_face", 1)
    both = funnel_png(
        _counts(("kept", "", "", 3), ("rejected", "p", "no_face", 2), dropped_early, ("error", "r", "unreadable", 1))
    )
    assert _picture(both).shape == _picture(long).shape, "one reason is one bar, whichever step gave it"
    assert funnel_png(_counts(("kept", "", "", 3))) == short


def test_empty_funnel_is_a_picture_too() -> None:
    assert _picture(funnel_png(_counts())).size


HISTOGRAM = {"angle": pl.String, "from_deg": pl.Float64, "faces": pl.Int64, "kept": pl.Int64}


def test_pose_shows_kept_clips_apart() -> None:
    def picture(kept: int) -> np.ndarray:
        rows = [(angle, 10.0 * n, 8, kept) for angle in ("yaw", "pitch", "roll") for n in range(4)]
        return _picture(pose_png(pl.DataFrame(rows, schema=HISTOGRAM, orient="row")))

    assert picture(8).shape == picture(0).shape
    assert picture(8).mean() < picture(0).mean()


def test_expressions_show_kept_clips_apart() -> None:
    def picture(kept: int) -> np.ndarray:
        rows = [(measure, 0.02 * n, 8, kept) for measure in EXPRESSIONS for n in range(4)]
        columns = ("measure", "from_share", "faces", "kept")
        return _picture(expression_png(pl.DataFrame(rows, schema=columns, orient="row")))

    assert picture(8).mean() < picture(0).mean()


GAPS = {"gap": pl.String, "reference_index": pl.Int16, "low": pl.Float64, "median": pl.Float64, "high": pl.Float64}


def test_what_references_add_is_drawn_in_pose_and_expression() -> None:
    def picture(pose: float, expression: float) -> np.ndarray:
        rows = [
            (gap, n, by / 2, by, 2 * by) for gap, by in (("pose_gap_deg", pose), ("expression_gap", expression)) for n in (1, 2)
        ]
        return _picture(references_png(pl.DataFrame(rows, schema=GAPS, orient="row")))

    one = picture(40.0, 0.2)
    assert (picture(20.0, 0.2) != one).any()
    assert (picture(40.0, 0.3) != one).any()


def test_pose_and_expression_without_faces_are_pictures_too() -> None:
    assert _picture(pose_png(pl.DataFrame(schema=HISTOGRAM))).size
    assert _picture(expression_png(pl.DataFrame(schema=HISTOGRAM).rename({"angle": "measure", "from_deg": "from_share"}))).size
    assert _picture(references_png(pl.DataFrame(schema=GAPS))).size


def test_persons_and_speech_are_drawn_from_counts() -> None:
    often = _picture(identities_png(pl.Series(["p"] * 5 + ["q"])))
    seldom = _picture(identities_png(pl.Series(["p", "q", "r"])))
    assert often.shape == seldom.shape
    assert (often != seldom).any()
    rows = pl.DataFrame({"status": ["silent", "on_screen"], "reason": ["no_voice", "lips_follow_voice"], "clips": [4, 4]})
    silent, spoken = (_picture(speech_png(rows[[index]])) for index in (0, 1))
    assert (silent != spoken).any()
    undecided = rows[[1]].with_columns(status=pl.lit("undecidable"), reason=pl.lit("not_in_sync"))
    other = undecided.with_columns(reason=pl.lit("several_faces"))
    assert (_picture(speech_png(undecided)) != _picture(speech_png(other))).any(), "the evidence is named"
    assert _picture(speech_png(pl.concat([undecided, other]))).shape[0] > _picture(speech_png(other)).shape[0]


def test_empty_dataset_has_pictures_of_persons_and_speech_too() -> None:
    assert _picture(identities_png(pl.Series([], dtype=pl.String))).size
    assert _picture(speech_png(pl.DataFrame(schema={"status": pl.String, "reason": pl.String, "clips": pl.Int64}))).size


def test_similarity_is_drawn_by_engine_with_and_without_measured_pairs() -> None:
    curve = pl.DataFrame(
        {"engine": "dlib", "gap": [5.0, 15.0, 25.0], "expected": [0.9, 0.8, 0.7], "spread": 0.1, "strangers": 0.4}
    )
    bare = _picture(similarity_png(curve.with_columns(measured=pl.lit(None, pl.Float64))))
    measured = _picture(similarity_png(curve.with_columns(measured=pl.lit(0.5))))
    assert bare.shape == measured.shape
    assert (bare != measured).any()
    assert _picture(similarity_png(curve.clear().with_columns(measured=pl.lit(0.5)))).size
