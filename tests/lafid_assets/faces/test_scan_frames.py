"""Which frames the scan looks at, and that they are the frames that they claim to be."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lafid_assets.faces.sampling import sample_frames
from lafid_assets.faces.scan_frames import look_into, plan_looks
from lafid_assets.ingest.packets import FrameIndex, read_index
from lafid_assets.outcomes import ClipError

WriteVideo = Callable[..., Path]
B_FRAMES = {"preset": "medium", "bf": "3", "b_strategy": "0", "sc_threshold": "0"}


def _index(pts: list[int], keyframes: list[int]) -> FrameIndex:
    return FrameIndex(pts, keyframes, Fraction(1, 10))


def _pictures(count: int) -> np.ndarray:
    """Frame n is grey, 20 + 2 n: far enough apart to be told without the deblocking filter."""
    return np.stack([np.full((48, 64, 3), 20 + 2 * n, np.uint8) for n in range(count)])


def test_looks_are_evenly_spaced_from_the_first_frame_on() -> None:
    assert plan_looks(_index(list(range(61)), [0]), 6) == [0, 10, 20, 30, 40, 50]


def test_a_near_keyframe_is_taken_instead() -> None:
    assert plan_looks(_index(list(range(61)), [0, 12, 23, 45]), 6) == [0, 12, 20, 30, 40, 50]


def test_fewer_frames_than_looks_are_each_looked_at_once() -> None:
    assert plan_looks(_index([0, 7], [0]), 6) == [0, 7]
    assert plan_looks(_index([5], [5]), 6) == [5]


@given(st.sets(st.integers(-1000, 1000), min_size=1), st.integers(1, 20), st.data())
def test_whatever_the_clock_every_look_is_a_frame(stamps: set[int], count: int, data: st.DataObject) -> None:
    pts = sorted(stamps)
    keyframes = sorted({pts[0], *data.draw(st.sets(st.sampled_from(pts)))})
    planned = plan_looks(_index(pts, keyframes), count)
    assert planned[0] == pts[0]
    assert planned == sorted(set(planned))
    assert set(planned) <= set(pts)
    assert len(planned) <= count


@pytest.mark.parametrize("keyframe_every", [250, 12, 5])
def test_a_look_is_the_frame_that_linear_decoding_gives(tmp_path: Path, write_video: WriteVideo, keyframe_every: int) -> None:
    options = B_FRAMES | {"g": str(keyframe_every)}
    path = write_video(tmp_path / "a.mp4", pictures=_pictures(60), options=options)
    index = read_index(path)
    linear = {sample.pts: sample for sample in sample_frames(path, 60, 1000)}
    assert index.pts == sorted(linear)
    assert len(index.keyframe_pts) == -(-60 // keyframe_every)
    seen = list(look_into(path, index, plan_looks(index, 6)))
    assert len(seen) == 6
    for looked_at in seen:
        sample = linear[looked_at.pts]
        assert (looked_at.frame_index, looked_at.time_s) == (sample.frame_index, pytest.approx(sample.time_s))
        assert abs(looked_at.shown.rgb().mean() - sample.image_rgb.mean()) < 1


def test_a_late_start_counts_from_the_first_frame(tmp_path: Path, write_video: WriteVideo) -> None:
    path = write_video(tmp_path / "a.mkv", pts_ms=[5000 + 100 * n for n in range(20)], form="matroska")
    index = read_index(path)
    seen = list(look_into(path, index, plan_looks(index, 4)))
    assert [looked_at.frame_index for looked_at in seen] == [0, 5, 10, 15]
    assert [looked_at.time_s for looked_at in seen] == pytest.approx([0, 0.5, 1.0, 1.5])


def test_the_picture_is_reduced_by_averages(tmp_path: Path, write_video: WriteVideo) -> None:
    stripes = np.zeros((64, 128, 3), np.uint8)
    stripes[:, ::2] = 200  # a reduction that only picks pixels gives 0 or 200
    path = write_video(tmp_path / "a.mp4", pictures=np.stack([stripes] * 2), options={"crf": "1"})
    index = read_index(path)
    first = next(look_into(path, index, index.pts))
    reduced = first.shown.rgb(32)
    assert reduced.shape == (16, 32, 3)
    assert abs(reduced.astype(int) - 100).max() < 12
    assert first.shown.rgb(4096).shape == (64, 128, 3)
    assert first.shown.size_px == (128, 64)


def test_what_is_no_video_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"nothing to see" * 100)
    with pytest.raises(ClipError, match="decode_failed: reading packets stopped"):
        read_index(path)


def test_a_list_of_files_is_never_followed(tmp_path: Path, write_video: WriteVideo) -> None:
    write_video(tmp_path / "other.mp4")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(ClipError, match="reading packets stopped"):
        read_index(tmp_path / "list.mp4")
    index = read_index(tmp_path / "other.mp4")
    with pytest.raises(ClipError, match="decoding stopped"):
        list(look_into(tmp_path / "list.mp4", index, index.pts[:1]))


def test_looks_into_a_file_whose_timestamps_begin_anew_are_over_all_of_it(zoo: Any) -> None:
    """Its two pieces have frames of the same timestamps: a seek would find the wrong one."""
    path = zoo.root / zoo.exhibits["restart"].path
    index = read_index(path)
    linear = {sample.pts: sample for sample in sample_frames(path, 60, 1000)}
    seen = list(look_into(path, index, plan_looks(index, 6)))
    assert [looked_at.frame_index for looked_at in seen] == [0, 5, 10, 15, 20, 25]
    for looked_at in seen:
        assert abs(looked_at.shown.rgb().mean() - linear[looked_at.pts].image_rgb.mean()) < 2
