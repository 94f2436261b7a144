"""The curve of expected similarity over the pose gap."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from lafid_assets.identity.policies import GAP_EDGES_DEG, PoseGapFigures
from lafid_assets.identity.pose_gap import PoseGapCurve, calibrate, gaps_deg
from model.face_engine.rotations import rotation_from_angles

BINS = len(GAP_EDGES_DEG) - 1
FIGURES = PoseGapFigures(expected=(0.5,) * BINS, spread=(0.1,) * BINS, strangers=0.2)
Array = NDArray[np.float64]


def _track(frames: int, seed: int, lost_per_deg: float = 0.008, changed: int = 0) -> tuple[Array, Array]:
    """A head that turns; the cosine of two frames falls with the angle between them. The last `changed` are a stranger's."""
    random = np.random.default_rng(seed)
    yaw = random.uniform(-30, 30, frames)
    gram = 1 - lost_per_deg * np.abs(yaw[:, None] - yaw[None])
    gram[: frames - changed, frames - changed :] = gram[frames - changed :, : frames - changed] = 0.0
    values, vectors = np.linalg.eigh(gram)
    embeddings = vectors * np.sqrt(np.clip(values, 0, None))
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), rotation_from_angles(yaw, 0, 0)


def test_many_tracks_replace_the_shipped_figures() -> None:
    curve = calibrate([_track(30, seed) for seed in range(40)], FIGURES, 1)
    assert curve.expected[:6] == pytest.approx(1 - 0.008 * np.array([2.5, 7.5, 12.5, 17.5, 25, 35]), abs=0.02)
    assert curve.pairs.sum() == 40 * 300, "a track counts with 300 pairs at most"
    assert all(a >= b for a, b in pairwise(curve.expected))


def test_few_pairs_leave_the_shipped_figures() -> None:
    curve = calibrate([_track(4, 0)], FIGURES, 10_000)
    assert curve.expected == pytest.approx(FIGURES.expected, abs=0.001)
    assert calibrate([], FIGURES, 1).expected.tolist() == list(FIGURES.expected)
    assert (
        calibrate([], FIGURES, 1).rows()[0] | {"expected": 0.5, "spread": 0.1, "pairs": 0, "measured": None}
        == (calibrate([], FIGURES, 1).rows()[0])
    )


def test_tracks_in_which_the_person_changes_do_not_bend_it() -> None:
    clean = calibrate([_track(20, seed) for seed in range(20)], FIGURES, 1)
    mixed = calibrate([_track(20, seed, changed=10 if seed < 6 else 0) for seed in range(20)], FIGURES, 1)
    assert mixed.expected[:7] == pytest.approx(clean.expected[:7], abs=0.02)
    assert mixed.spread[:7] == pytest.approx(clean.spread[:7], abs=0.02)


def test_frames_without_a_pose_do_not_calibrate() -> None:
    embeddings, rotations = _track(20, 0)
    rotations[:10] = np.nan
    assert calibrate([(embeddings, rotations)], FIGURES, 1).pairs.sum() == 45


def test_it_never_rises_although_the_measures_do() -> None:
    rising = PoseGapFigures(expected=(0.9, 0.8, *(0.85,) * (BINS - 2)), spread=(0.1,) * BINS, strangers=0.2)
    assert all(a >= b for a, b in pairwise(calibrate([], rising, 1).expected))


def test_residual_counts_spreads_from_what_the_gap_lets_expect() -> None:
    falling = PoseGapFigures(expected=tuple(np.linspace(0.9, 0.45, BINS)), spread=(0.1,) * BINS, strangers=0.3)
    curve = calibrate([], falling, 1)
    similarity, gap = np.array([0.9, 0.7, 0.7, 0.7]), np.array([0.0, 2.5, 90.0, np.nan])
    assert curve.residual(similarity, gap) == pytest.approx([0, -2, 2.5, 2.5])
    assert curve.is_alike(similarity, gap, 1.5).tolist() == [True, False, True, True]


def test_no_pose_excuses_what_is_as_unlike_as_strangers() -> None:
    wide = PoseGapFigures(expected=(0.5,) * BINS, spread=(0.3,) * BINS, strangers=0.2)
    assert calibrate([], wide, 1).is_alike(np.array([0.21, 0.19]), np.array([90.0, 90.0]), 3.0).tolist() == [True, False]


def test_gaps_to_an_unknown_pose_are_unknown() -> None:
    rotations = rotation_from_angles([0, 30], 0, 0)
    assert gaps_deg(rotations, rotations[0]) == pytest.approx([0, 30])
    assert np.isnan(gaps_deg(rotations, np.full((3, 3), np.nan))).all()


def test_what_is_asked_at_a_pose_is_where_faces_begin_to_be_alike_also_from_stored_rows() -> None:
    curve = PoseGapCurve.from_rows(pl.DataFrame(calibrate([_track(30, 1)], FIGURES, 100).rows()).reverse())
    gaps = np.array([0.0, 12.0, 80.0, np.nan])
    asked = curve.asked(gaps, 2.0)
    assert curve.is_alike(asked + 1e-6, gaps, 2.0).all()
    assert not curve.is_alike(asked - 1e-6, gaps, 2.0).any()
    assert curve.asked(gaps, 100.0) == pytest.approx([FIGURES.strangers] * 4), "no pose excuses a stranger"
