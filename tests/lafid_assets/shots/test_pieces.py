"""Pieces are the frames between two cuts: those of the whole file, wherever decoding begins."""

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lafid_assets.faces.sampling import frames_at, sample_frames
from lafid_assets.faces.scan_frames import look_into
from lafid_assets.ingest.packets import FrameIndex, open_clip, read_index
from lafid_assets.shots.boundaries import Kind
from lafid_assets.shots.pieces import piece_id, split_at_cuts
from model.encoding.footage import footage_in
from model.encoding.shown import ShownFrame, shown_frames
from model.encoding.video_io import read_frames

SCORES = {Kind.HARD: 2.0, Kind.GRADUAL: 1.5}


def _cut(index: FrameIndex, last: int, first: int, score: float = 3.0, kind: Kind = Kind.HARD) -> dict[str, Any]:
    return {"kind": kind, "last_pts_before": index.pts[last], "first_pts_behind": index.pts[first], "score": score}


def _frames(path: Path) -> list[ShownFrame]:
    with open_clip(path) as container:
        return list(shown_frames(container, container.streams.video[0]))


@pytest.mark.parametrize("kind", ["whole", "b_frames", "late", "endless", "old_codec", "restart", "matroska_inside"])
def test_a_piece_holds_the_same_frames_as_the_file_between_its_ends(zoo: Any, kind: str) -> None:
    path = zoo.root / zoo.exhibits[kind].path
    index, whole = read_index(path), _frames(path)
    rows = split_at_cuts(index, [_cut(index, 4, 5), _cut(index, 7, 8)], SCORES)
    begins = (0, 5, 8, 10) if kind == "restart" else (0, 5, 8)
    assert [row["frame_count"] for row in rows] == np.diff([*begins, len(whole)]).tolist()
    assert (rows[1]["keyframe_pts"] is None) == (kind == "restart"), "whose timestamps come twice"
    for row, begin in zip(rows, begins, strict=True):
        footage, own = footage_in(path, row), whole[begin : begin + row["frame_count"]]
        assert read_index(footage).pts == [frame.pts for frame in own]
        assert row["start_s"] == pytest.approx(own[0].time_since(whole[0].pts))
        sampled = list(sample_frames(footage, 60, 1000))
        assert [sample.pts for sample in sampled] == [frame.pts for frame in own]
        assert [sample.frame_index for sample in sampled] == list(range(len(own)))
        assert sampled[0].time_s == 0
        assert all(np.array_equal(sample.image_rgb, frame.rgb()) for sample, frame in zip(sampled, own, strict=True))
        assert np.array_equal(frames_at(footage, {1})[1], own[1].rgb())
        assert np.array_equal(read_frames(footage, [sampled[-1].time_s])[0], own[-1].rgb())
        for look in look_into(footage, read_index(footage), [own[0].pts, own[-1].pts]):
            assert look.pts == own[look.frame_index].pts


def test_only_a_score_above_its_kinds_threshold_splits_and_what_is_mixed_belongs_to_nobody() -> None:
    index = FrameIndex(list(range(0, 100, 10)), [0, 60], Fraction(1, 100), step=10, held=70)
    boundaries = [_cut(index, 1, 2, 2.0), _cut(index, 3, 6, 1.6, Kind.GRADUAL)]
    rows = split_at_cuts(index, boundaries, SCORES)
    assert [(row["first_pts"], row["last_pts"], row["keyframe_pts"]) for row in rows] == [(0, 30, 0), (60, 90, 60)]
    assert [(row["start_s"], row["duration_s"]) for row in rows] == [(0.0, 0.4), (0.6, 1.0)], "the last picture is held"
    assert split_at_cuts(index, boundaries[:1], SCORES) == []


def test_a_clock_that_begins_anew_begins_a_piece() -> None:
    index = FrameIndex(list(range(0, 100, 10)), [0, 50], Fraction(1, 100), runs=2, step=10, restarts=(50,), held=10)
    ends = [[(0, 40), (50, 90)], [(0, 40), (50, 90)], [(0, 20), (60, 90)], [(0, 10), (20, 40), (50, 90)]]
    crossed = [[], [_cut(index, 4, 5)], [_cut(index, 2, 6, kind=Kind.GRADUAL)], [_cut(index, 1, 2)]]
    for boundaries, expected in zip(crossed, ends, strict=True):
        rows = split_at_cuts(index, boundaries, SCORES)
        assert [(row["first_pts"], row["last_pts"]) for row in rows] == expected


def test_a_piece_is_named_by_content_and_interval() -> None:
    names = {piece_id(content, first, last) for content in ("a", "b") for first, last in ((0, 5), (0, 6), (1, 5))}
    assert len(names) == 6
    assert piece_id("a", 0, 5) == hashlib.sha256(b"a 0 5").hexdigest()[:32]
