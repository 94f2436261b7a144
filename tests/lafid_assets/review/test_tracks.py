"""What is drawn under the video."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from lafid_assets.identity.policies import GAP_EDGES_DEG, ConsistencyPolicy
from lafid_assets.review.tracks import cuts, face_track, identity_track, speech_track
from lafid_assets.schemas import FACE_FRAMES, FACES, SHOT_BOUNDARIES, SIMILARITY_BY_POSE_GAP
from model.face_engine.rotations import rotation_from_angles

RowOf = Callable[..., dict[str, Any]]


@pytest.fixture
def scores(row_of: RowOf) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Four frames at 0, 0.5, 1 and 1.5 s; the second one shows nobody, the last one somebody else beside."""
    frames = [row_of(FACE_FRAMES, frame_index=2 * n, time_s=n / 2, face_count=(1, 0, 1, 2)[n]) for n in range(4)]
    embedded = {0: [1.0, 0.0], 4: [0.8, 0.6], 6: [1.0, 0.0]}
    faces = [
        row_of(
            FACES,
            **{
                "frame_index": index,
                "face_index": 0,
                "track_id": 0,
                "frame_share": 0.2,
                "embedding": embedding,
                "engine": "dlib",
            },
            **{"yaw_deg": 10.0 * index, "pitch_deg": 2.0, "roll_deg": 0.0},
            rotation=rotation_from_angles(10.0 * index, 2.0, 0.0).ravel().tolist(),
        )
        for index, embedding in embedded.items()
    ]
    bystander = row_of(FACES, frame_index=6, face_index=1, track_id=1, frame_share=0.01, yaw_deg=-80.0)
    return FACES.frame([*faces, bystander]), FACE_FRAMES.frame(frames)


@pytest.fixture
def curve(row_of: RowOf) -> pl.DataFrame:
    """0.95 +- 0.01 up to 30 degrees, less beyond."""
    edges = itertools.pairwise(GAP_EDGES_DEG)
    return SIMILARITY_BY_POSE_GAP.frame(
        row_of(SIMILARITY_BY_POSE_GAP, gap_from_deg=low, gap_to_deg=high, expected=0.95 if high <= 30 else 0.9, spread=0.01)
        | {"strangers": 0.5}
        for low, high in edges
    )


def test_poses_of_the_leading_face_at_every_frame(scores: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    track = face_track(*scores)
    assert track == {
        **{"time_s": [0.0, 0.5, 1.0, 1.5], "yaw_deg": [0.0, None, 40.0, 60.0], "pitch_deg": [2.0, None, 2.0, 2.0]},
        **{"roll_deg": [0.0, None, 0.0, 0.0], "face_count": [1, 0, 1, 2]},
    }


def test_how_like_itself_the_face_stays_and_what_was_asked(
    scores: tuple[pl.DataFrame, pl.DataFrame], curve: pl.DataFrame
) -> None:
    track = identity_track(*scores, curve, ConsistencyPolicy(), 4)
    assert (track["time_s"], track["break_s"]) == ([0.0, 1.0, 1.5], 1.0)
    medoid = track["similarity"].index(1.0)
    assert sorted(track["similarity"]) == pytest.approx([0.8, 1.0, 1.0])
    assert track["asked"][medoid] == pytest.approx(0.95 - 3 * 0.01)
    assert min(track["asked"]) == pytest.approx(0.9 - 3 * 0.01), "far from the medoid's pose less is asked"


def test_a_fixed_figure_is_asked_at_every_pose_by_other_policies(scores: Any, curve: pl.DataFrame) -> None:
    policy = ConsistencyPolicy(name="minimum", min_similarity={"dlib": 0.9})
    assert identity_track(*scores, curve, policy, None)["asked"] == [0.9] * 3
    assert identity_track(*scores, curve, None, None)["asked"] is None, "nobody has judged it"


def test_a_clip_without_faces_or_speech_has_empty_tracks(scores: tuple[pl.DataFrame, pl.DataFrame], curve: pl.DataFrame) -> None:
    faces, frames = scores
    assert face_track(faces.clear(), frames)["yaw_deg"] == [None] * 4
    assert identity_track(faces.clear(), frames, curve, ConsistencyPolicy(), None)["time_s"] == []
    assert speech_track({}) == {"voice": [], "mouth": {"time_s": [], "opening": []}, "words": []}


def test_voice_lips_and_words() -> None:
    segment = {"start_s": 0.1, "end_s": 0.5, "text": "who?", "language": "en", "avg_logprob": -0.1, "no_speech_prob": 0.0}
    speech = {"voice_spans": [{"start_s": 0.1, "end_s": 0.6}], "mouth_times_s": [0.0, 0.1], "mouth_openings": [None, 0.02]}
    track = speech_track(speech | {"segments": [segment]})
    assert track["words"] == [{"start_s": 0.1, "end_s": 0.5, "text": "who?"}]
    assert (track["voice"], track["mouth"]["opening"]) == ([{"start_s": 0.1, "end_s": 0.6}], [None, 0.02])


def test_cuts_in_order_of_time(row_of: RowOf) -> None:
    boundaries = [
        row_of(SHOT_BOUNDARIES, boundary_index=n, kind="hard", score=3.0, last_s_before=1.0 - n, first_s_behind=1.04 - n)
        for n in range(2)
    ]
    assert [cut["start_s"] for cut in cuts(SHOT_BOUNDARIES.frame(boundaries))] == [0.0, 1.0]
    assert np.isclose(cuts(SHOT_BOUNDARIES.frame(boundaries))[0]["end_s"], 0.04)
