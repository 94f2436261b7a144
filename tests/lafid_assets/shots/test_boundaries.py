"""Cuts and gradual transitions are found, and what only looks like one is not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.faces.sampling import decode_samples
from lafid_assets.ingest.packets import read_index
from lafid_assets.schemas.columns import BOUNDARY_KINDS
from lafid_assets.shots import boundaries
from lafid_assets.shots.boundaries import Boundary, Kind, find_boundaries
from lafid_assets.shots.search import HEIGHT, WIDTH, ShotSearch

RATE_HZ = 25
Pictures = NDArray[np.float64]  # (T, 3, 18, 32)


def _shot(seed: int, count: int, drift: float = 0.1) -> Pictures:
    """A wall of soft blots that drifts to the side by so many pixels a frame, with a camera's noise."""
    chance = np.random.default_rng(seed)
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    pictures = np.full((count, 3, HEIGHT, WIDTH), 128.0)
    for _ in range(12):
        x, y, size, light = chance.uniform(0, WIDTH), chance.uniform(0, HEIGHT), chance.uniform(2, 6), chance.uniform(-90, 90)
        middle = x + drift * np.arange(count)[:, None, None]
        pictures[:, 0] += light * np.exp(-((columns - middle) ** 2 + (rows - y) ** 2) / (2 * size**2))
    pictures[:, 1:] += chance.uniform(-15, 15, 2)[None, :, None, None]
    return pictures + chance.normal(0, 1.5, pictures.shape)


def _dissolved(before: Pictures, behind: Pictures, length: int) -> Pictures:
    """The last `length` pictures of the one over the first ones of the other."""
    share = (np.arange(1, length + 1) / (length + 1))[:, None, None, None]
    return np.concatenate([before[:-length], before[-length:] * (1 - share) + behind[:length] * share, behind[length:]])


def _found(pictures: Pictures) -> list[Boundary]:
    """What the default policy takes for boundaries."""
    whole = np.clip(np.round(pictures), 0, 255).astype(np.uint8)
    most = {Kind.HARD: FacePolicy().hard_cut_score_max, Kind.GRADUAL: FacePolicy().gradual_cut_score_max}
    found = find_boundaries(whole, RATE_HZ)
    return [boundary for boundary in found if boundary.score > (most[boundary.kind] or 0)]


@pytest.mark.parametrize("seed", range(5))
def test_a_cut_is_between_the_two_frames_where_it_was_made(seed: int) -> None:
    found = _found(np.concatenate([_shot(seed, 40), _shot(100 + seed, 40)]))
    assert [(one.kind, one.first, one.last) for one in found] == [(Kind.HARD, 39, 40)]


def test_a_long_recording_is_compared_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = _dissolved(np.concatenate([_shot(1, 140), _shot(2, 140), _shot(3, 140, 0.02)]), _shot(4, 140, 0.02), 12)
    pictures = _faded(_faded(pictures, _shot(5, 280, 0.02), 8, 20), _shot(6, 140, 0.02), 25, 5)
    at_once = _found(pictures)
    monkeypatch.setattr(boundaries, "PICTURES_AT_A_TIME", 7)
    assert _found(pictures) == at_once
    assert len(at_once) == 5


@pytest.mark.parametrize("length", [6, 12, 25])
@pytest.mark.parametrize("seed", range(3))
def test_a_dissolve_covers_the_frames_that_are_mixed(seed: int, length: int) -> None:
    [found] = _found(_dissolved(_shot(seed, 50, 0.02), _shot(100 + seed, 50, 0.02), length))
    assert found.kind == Kind.GRADUAL
    assert found.first == pytest.approx(49 - length, abs=2 + length / 6)
    assert found.last == pytest.approx(50, abs=2 + length / 6)


def _faded(before: Pictures, behind: Pictures, length: int, hold: int, light: float = 16) -> Pictures:
    """So many pictures of the one fade out, so many are empty, so many of the other fade in."""
    empty = np.full((1, 3, HEIGHT, WIDTH), 128.0)
    empty[:, 0] = light
    share = (np.arange(1, length + 1) / (length + 1))[:, None, None, None]
    out, into = before[-length:] * (1 - share) + empty * share, behind[:length] * share + empty * (1 - share)
    return np.concatenate([before[:-length], out, np.repeat(empty, hold, axis=0), into, behind[length:]])


@pytest.mark.parametrize("light", [16, 235])
@pytest.mark.parametrize("drift", [0.02, 0.1])
@pytest.mark.parametrize("hold", [0, 5, 40])
@pytest.mark.parametrize("length", [4, 8, 25])
def test_a_fade_out_and_in_is_one_boundary(length: int, hold: int, drift: float, light: float) -> None:
    """Through black or white, under a still camera and one that turns."""
    for seed in range(3):
        [found] = _found(_faded(_shot(seed, 70, drift), _shot(100 + seed, 70, drift), length, hold, light))
        assert found.kind == Kind.GRADUAL
        assert found.first == pytest.approx(69 - length, abs=2 + length / 6)
        assert found.last == pytest.approx(70 + hold + length, abs=2 + length / 6)


@pytest.mark.parametrize("times", [2, 3, 4, 8])
def test_pictures_that_are_stored_several_times_make_no_cuts(times: int) -> None:
    """As where 15 pictures a second are stored as 60. The camera moves fast, and one cut is made."""
    moved = np.concatenate([_shot(1, 20, drift=1.5), _shot(2, 20, drift=1.5)])
    repeated = np.repeat(np.clip(np.round(moved), 0, 255).astype(np.uint8), times, axis=0)
    once, often = (
        [one for one in find_boundaries(pictures, 15.0 * rate) if one.kind == Kind.HARD]
        for pictures, rate in ((repeated[::times], 1), (repeated, times))
    )
    assert [(one.first, one.last) for one in once] == [(19, 20)]
    assert [(one.first, one.last, one.score) for one in often] == [(20 * times - 1, 20 * times, pytest.approx(once[0].score))]


@pytest.mark.parametrize("shots", [2, 3, 4, 5])
def test_stills_are_cut_where_they_change(shots: int) -> None:
    found = _found(np.concatenate([np.repeat(_shot(seed, 1), 20, axis=0) for seed in range(shots)]))
    assert [(one.first, one.last) for one in found] == [(20 * shot - 1, 20 * shot) for shot in range(1, shots)]


def test_three_shots_in_a_second_have_two_cuts() -> None:
    found = _found(np.concatenate([_shot(1, 30), _shot(2, 8), _shot(3, 30)]))
    assert [(one.first, one.last) for one in found] == [(29, 30), (37, 38)]


def _flash(pictures: Pictures) -> Pictures:
    return np.concatenate([pictures[:30], pictures[30:31] * 0 + 235, pictures[31:]])


def _overexposed(pictures: Pictures, count: int) -> Pictures:
    """As many pictures are brighter, and white where that is too much."""
    lit = pictures[30 : 30 + count]
    lit = np.concatenate([np.clip(lit[:, :1] * 1.6 + 60, 0, 235), 128 + (lit[:, 1:] - 128) / 2], axis=1)
    return np.concatenate([pictures[:30], lit, pictures[30 + count :]])


def _dip(pictures: Pictures, length: int, hold: int) -> Pictures:
    """The shot fades out and, going on meanwhile, in again."""
    return _faded(pictures[: 30 + length], pictures[30 + length + hold :], length, hold)


def _lamp(pictures: Pictures) -> Pictures:
    return np.concatenate([pictures[:30], np.concatenate([pictures[30:, :1] * 0.6, pictures[30:, 1:]], axis=1)])


def _dimmed(pictures: Pictures) -> Pictures:
    less = np.clip(1 - np.arange(len(pictures)) / 60, 0.4, 1)[:, None, None]
    return np.concatenate([pictures[:, :1] * less[:, None], pictures[:, 1:]], axis=1)


@pytest.mark.parametrize(
    "pictures",
    [
        _shot(3, 80, 0.0),
        _shot(3, 80, 0.5),
        _shot(3, 80, 2.0),
        np.repeat(_shot(3, 40, 1.0), 2, axis=0),
        _flash(_shot(3, 80)),
        *(_overexposed(_shot(seed, 80), count) for seed in (3, 4) for count in (2, 3, 5)),
        *(_dip(_shot(seed, 80), length, hold) for seed in (3, 4) for length, hold in ((4, 5), (8, 5))),
        _lamp(_shot(3, 80)),
        _dimmed(_shot(3, 80)),
        np.concatenate([_shot(3, 1)] * 80),
        np.zeros((80, 3, HEIGHT, WIDTH)),
    ],
    ids=[
        "still",
        "pan",
        "fast pan",
        "every frame twice",
        "flash",
        *["longer flash"] * 6,
        *["dip"] * 4,
        "lamp",
        "dimmed",
        "frozen",
        "black",
    ],
)
def test_what_only_looks_like_one_is_none(pictures: Pictures) -> None:
    assert _found(pictures) == []


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_hardly_any_pictures_are_no_fault(count: int) -> None:
    assert _found(_shot(1, count)) == []


def test_a_clip_has_its_boundaries_in_pts_and_seconds(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    """Encoded and decoded: 96 x 160, cut from one wall to another behind frame 11; only two frames are sampled."""
    walls = np.clip(np.concatenate([_shot(1, 12), _shot(2, 12)])[:, 0], 0, 255).astype(np.uint8)
    pictures = np.repeat(np.kron(walls, np.ones((1, 4, 4), np.uint8))[..., None], 3, axis=3)
    path = write_video(tmp_path / "cut.mp4", pictures=pictures)
    search = ShotSearch(read_index(path))
    samples = list(decode_samples(path, [0, 5120], search))
    assert [sample.frame_index for sample in samples] == [0, 4]
    [row] = search.rows("a", "s")
    assert (row["kind"], row["boundary_index"]) == ("hard", 0)
    assert (row["last_s_before"], row["first_s_behind"]) == pytest.approx((1.1, 1.2))
    assert row["first_pts_behind"] * row["time_base_num"] / row["time_base_den"] == pytest.approx(1.2)


def test_the_schema_knows_both_kinds() -> None:
    assert tuple(Kind) == BOUNDARY_KINDS
