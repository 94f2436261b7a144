"""One person all along, from crafted embeddings."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from lafid_assets.identity.consistency import decide_clips, similarity_to_medoid
from lafid_assets.identity.policies import ConsistencyPolicy, EngineUncalibrated
from lafid_assets.schemas import FACE_INFO, ID_CONSISTENT_CLIPS, POSE_FILTERED_CLIPS

RowOf = Callable[..., dict[str, Any]]
WIDTH = 16


def _person(number: int, frames: int, wobble: float = 0.02) -> NDArray[np.float64]:
    """(frames, 16) embeddings near one of the axes."""
    vectors = np.eye(WIDTH)[number] + wobble * np.random.default_rng(number).standard_normal((frames, WIDTH))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _decide(
    row_of: RowOf, clips: dict[str, NDArray[np.float64]], *, dropped: tuple[str, ...] = (), engine: str = "dlib", **policy: Any
) -> pl.DataFrame:
    kept = [row_of(POSE_FILTERED_CLIPS, clip_id=name, keep=True, status="ok") for name in clips]
    lost = [row_of(POSE_FILTERED_CLIPS, clip_id=n, keep=False, status="rejected", reason="no_face") for n in dropped]
    faces = [
        row_of(FACE_INFO, clip_id=name, frame_index=frame, face_index=0, embedding=list(vector), engine=engine)
        for name, vectors in clips.items()
        for frame, vector in enumerate(vectors)
    ]
    decided = decide_clips(POSE_FILTERED_CLIPS.frame([*kept, *lost]), FACE_INFO.frame(faces), ConsistencyPolicy(**policy))
    assert ID_CONSISTENT_CLIPS.violations(decided) == {"schema": [], "unique_key": [], "values": []}
    assert decided["keep"].to_list() == (decided["status"] == "ok").to_list()
    return decided


def test_one_person_is_kept_with_a_centroid_of_unit_length(row_of: RowOf) -> None:
    row = _decide(row_of, {"a": _person(0, 8)}).row(0, named=True)
    assert (row["status"], row["embedded_frames"], row["outlier_share"]) == ("ok", 8, 0.0)
    assert row["similarity_min"] > 0.95
    assert row["similarity_mean"] >= row["similarity_min"]
    assert np.linalg.norm(row["centroid"]) == pytest.approx(1, abs=1e-5)
    assert row["centroid"][0] > 0.99


def test_person_who_changes_mid_clip_is_rejected(row_of: RowOf) -> None:
    row = _decide(row_of, {"a": np.concatenate([_person(0, 5), _person(1, 5)])}).row(0, named=True)
    assert (row["status"], row["reason"], row["outlier_share"]) == ("rejected", "identity_change", 0.5)
    assert row["similarity_min"] < 0.3


def test_few_outliers_are_forgiven(row_of: RowOf) -> None:
    mixed = np.concatenate([_person(0, 9), _person(1, 1)])
    assert _decide(row_of, {"a": mixed})["keep"].to_list() == [True]
    assert _decide(row_of, {"a": mixed}, max_outlier_share=0.05)["keep"].to_list() == [False]


def test_too_few_embeddings_are_no_judgement(row_of: RowOf) -> None:
    decided = _decide(row_of, {"a": _person(0, 2), "b": np.empty((0, WIDTH))})
    columns = ("reason", "embedded_frames", "similarity_mean", "centroid")
    assert decided.select(columns).rows() == [("identity_unknown", 2, None, None), ("identity_unknown", 0, None, None)]


def test_only_the_main_face_is_judged(row_of: RowOf) -> None:
    other = [row_of(FACE_INFO, clip_id="a", frame_index=n, face_index=1, embedding=list(_person(1, 1)[0])) for n in range(8)]
    main = [
        row_of(FACE_INFO, clip_id="a", frame_index=n, face_index=0, embedding=list(v), engine="dlib")
        for n, v in enumerate(_person(0, 8))
    ]
    clips = POSE_FILTERED_CLIPS.frame([row_of(POSE_FILTERED_CLIPS, clip_id="a")])
    assert decide_clips(clips, FACE_INFO.frame(other + main), ConsistencyPolicy())["embedded_frames"].to_list() == [8]


def test_dropped_clips_are_skipped(row_of: RowOf) -> None:
    decided = _decide(row_of, {"a": _person(0, 4)}, dropped=("b",))
    assert decided.select("clip_id", "status", "reason", "detail").rows()[1] == (
        "b",
        "skipped",
        "upstream",
        "pose_filtered_clips: no_face",
    )
    assert _decide(row_of, {}, dropped=("b", "c"))["status"].to_list() == ["skipped"] * 2


def test_engine_without_a_figure_is_named(row_of: RowOf) -> None:
    with pytest.raises(
        EngineUncalibrated, match="min_similarity has no figure for the engine magic: add one to the asset's config"
    ):
        _decide(row_of, {"a": _person(0, 4)}, engine="magic")
    assert _decide(row_of, {"a": _person(0, 4)}, engine="magic", min_similarity={"magic": 0.5})["keep"].to_list() == [True]


def test_medoid_is_the_frame_most_like_all_others() -> None:
    vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    assert similarity_to_medoid(vectors) == pytest.approx([0.8, 1.0, 0.96])
