"""The offset at which two heads turn alike, and what is compared there."""

from dataclasses import replace

import numpy as np
import pytest

from lafid_assets.duplicates.comparison import PERCENTILE, Track, _percentile, compare
from lafid_assets.pictures.picture_hash import HASH_BITS, MIRROR
from model.face_engine.rotations import rotation_from_angles

PICTURES = np.bitwise_xor.accumulate(np.int64(1) << np.random.default_rng(0).integers(0, 63, 1000, dtype=np.int64))
"""From each to the next one bit changes."""
PICTURES_HZ = 2.0


def _track(
    begin_s: float, length_s: float, *, rate: float = 4.0, phase: float = 0.0, turns: float = 1.7, nods: float = 4.1
) -> Track:
    """A head that turns by a formula of the film's time, sampled from `begin_s` on."""
    times, pictured = np.arange(0, length_s, 1 / rate), np.arange(0, length_s, 1 / PICTURES_HZ)
    film = begin_s + times
    yaw = 40 * np.sin(turns * film + phase) + 12 * np.sin(nods * film)
    rotations = np.stack([rotation_from_angles(angle, angle / 4, 0) for angle in yaw])
    hashes = PICTURES[((begin_s + pictured) * PICTURES_HZ).astype(int)]
    return Track(times, rotations, np.tile([1.0, 0.0], (len(times), 1)), hashes, pictured, hashes[:, None], pictured)


@pytest.mark.parametrize("begin_s", [0.0, 1.0, 1.13, 1.9])
def test_a_piece_is_found_where_it_was_cut_from(begin_s: float) -> None:
    whole, piece = _track(0, 6), _track(begin_s, 4)
    found, back = compare(whole, piece), compare(piece, whole)
    assert found is not None
    assert back is not None
    assert found.offset_s == pytest.approx(begin_s, abs=0.06)
    assert back.offset_s == pytest.approx(-begin_s, abs=0.06)
    assert found.pose_distance_deg < min(4, 0.3 * found.pose_chance_deg)
    assert found.shared_share == pytest.approx(1, abs=0.05)
    assert found.picture_distance <= 2
    assert found.face_similarity == pytest.approx(1)


def test_clips_that_overlap_say_by_how_much() -> None:
    found = compare(_track(0, 5), _track(1.0, 5))
    assert found is not None
    assert found.offset_s == pytest.approx(1.0, abs=0.06)
    assert found.shared_share == pytest.approx(0.8, abs=0.05)


def test_another_take_turns_otherwise() -> None:
    found = compare(_track(0, 5), _track(0, 5, phase=1.0, turns=2.3))
    assert found is not None
    assert found.pose_distance_deg > 10


def test_a_head_that_keeps_still_is_alike_at_every_offset() -> None:
    whole = _track(0, 5)
    still = replace(whole, rotations=np.repeat(whole.rotations[:1], len(whole.rotations), axis=0))
    found = compare(still, still)
    assert found is not None
    assert found.pose_distance_deg == found.pose_chance_deg == pytest.approx(0, abs=1e-3)


def test_slow_samples_are_compared_at_their_own_moments_alone() -> None:
    """Frames two seconds apart say nothing of what lies between; a copy of the same length has the same ones."""
    slow = _track(0, 20, rate=0.5)
    found = compare(slow, _track(0, 20, rate=0.5))
    assert found is not None
    assert (found.offset_s, found.pose_distance_deg) == (0.0, pytest.approx(0, abs=1e-3))
    assert found.pose_chance_deg > 10


@pytest.mark.parametrize(("begin_s", "length_s", "rate"), [(97.3, 40, 4.0), (31.7, 150, 0.8)], ids=["dense", "sparse, too"])
def test_a_piece_of_a_long_clip_is_found_although_its_frames_lie_seconds_apart(
    begin_s: float, length_s: float, rate: float
) -> None:
    slow = {"turns": 0.31, "nods": 0.83}
    whole, piece = _track(0, 240, rate=0.5, **slow), _track(begin_s, length_s, rate=rate, **slow)
    for found, sign in ((compare(whole, piece), 1), (compare(piece, whole), -1)):
        assert found is not None
        assert found.offset_s == pytest.approx(sign * begin_s, abs=0.3)
        assert found.pose_distance_deg < min(5, 0.3 * found.pose_chance_deg)
        assert found.shared_share == pytest.approx(1, abs=0.05)
        assert found.picture_distance <= 1


def test_a_few_moments_of_a_long_clip_are_enough_where_the_pictures_leave_few_offsets() -> None:
    """A piece that shows four sampled frames of a long clip, whose pictures are hashed twice a second."""
    whole, piece = _track(0, 240, rate=0.2), _track(100.4, 20)
    for found, sign in ((compare(whole, piece), 1), (compare(piece, whole), -1)):
        assert found is not None
        assert found.offset_s == pytest.approx(sign * 100.4, abs=0.1)
        assert found.pose_distance_deg < min(5, 0.3 * found.pose_chance_deg)


def test_a_few_moments_of_a_long_clip_are_no_evidence_alone() -> None:
    """Of many offsets one fits, by chance: not where the pictures agree nowhere, and not where they agree everywhere, as those of
    a camera that stands still do."""
    whole, piece = _track(0, 240, rate=0.2), _track(100.4, 20)
    every_bit = np.int64((1 << HASH_BITS) - 1)
    elsewhere = replace(piece, hashes=piece.hashes ^ every_bit, crops=piece.crops ^ every_bit)
    assert compare(whole, elsewhere) is None
    still = [replace(one, hashes=np.zeros_like(one.hashes), crops=np.zeros_like(one.crops)) for one in (whole, piece)]
    assert compare(*still) is None


def test_a_mirrored_head_turns_the_other_way() -> None:
    whole = _track(0, 5)
    opposite = replace(
        whole,
        rotations=np.stack([rotation_from_angles(-yaw, 10, -20) for yaw in range(len(whole.times_s))]),
        hashes=whole.hashes ^ MIRROR,
        crops=whole.crops ^ MIRROR,
    )
    turned = replace(whole, rotations=np.stack([rotation_from_angles(yaw, 10, 20) for yaw in range(len(whole.times_s))]))
    assert np.allclose(turned.mirrored().rotations, opposite.rotations)
    found = compare(opposite, turned.mirrored())
    assert found is not None
    assert (found.pose_distance_deg, found.picture_distance) == (pytest.approx(0, abs=1e-3), 0)


def test_the_percentile_is_that_of_the_moments_that_are_known() -> None:
    values = np.random.default_rng(0).uniform(0, 180, (40, 12))
    values[np.random.default_rng(1).uniform(size=values.shape) < 0.5] = np.nan
    values[0] = np.nan
    found = _percentile(values, np.isfinite(values).sum(axis=1))
    assert np.isnan(found[0])
    assert np.allclose(found[1:], np.nanpercentile(values[1:], PERCENTILE, axis=1))


def test_without_poses_faces_or_pictures_nothing_is_said() -> None:
    whole = _track(0, 5)
    blind = replace(whole, rotations=np.full_like(whole.rotations, np.nan))
    faceless = replace(whole, embeddings=np.full_like(whole.embeddings, np.nan))
    flat = replace(whole, hashes=whole.hashes[:0], picture_times_s=whole.picture_times_s[:0])
    assert compare(whole, blind) is None
    assert compare(blind, whole) is None
    assert compare(whole, faceless) is None
    assert compare(flat, replace(flat, crops=flat.crops[:0], crop_times_s=flat.crop_times_s[:0])) is None
