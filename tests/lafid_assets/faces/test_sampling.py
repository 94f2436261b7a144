"""Frames at a rate in time, whatever the clip's own clock does."""

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lafid_assets.faces.sampling import SampledFrame, frame_at, plan_samples, sample_frames
from lafid_assets.ingest.packets import FrameIndex
from lafid_assets.outcomes import ClipError

WriteVideo = Callable[..., Path]


def _number(sample: SampledFrame) -> int:
    """Which frame it is by its picture: frame n is grey with the value 8 n."""
    return round(float(sample.image_rgb.mean()) / 8)


def _sampled(path: Path, rate_hz: float, most: int = 1000) -> list[SampledFrame]:
    return list(sample_frames(path, rate_hz, most))


def test_constant_rate_gives_the_first_frame_at_or_after_every_tick(tmp_path: Path, write_video: WriteVideo) -> None:
    samples = _sampled(write_video(tmp_path / "a.mp4", seconds=2, fps=10), 4)
    assert [s.frame_index for s in samples] == [0, 3, 5, 8, 10, 13, 15, 18]
    assert [_number(s) for s in samples] == [s.frame_index for s in samples]
    assert [s.time_s for s in samples] == pytest.approx([0, 0.3, 0.5, 0.8, 1.0, 1.3, 1.5, 1.8])


def test_rate_beyond_the_clips_own_gives_every_frame_once(tmp_path: Path, write_video: WriteVideo) -> None:
    assert [s.frame_index for s in _sampled(write_video(tmp_path / "a.mp4"), 60)] == list(range(10))


def test_variable_rate_is_sampled_by_time_not_by_number(tmp_path: Path, write_video: WriteVideo) -> None:
    path = write_video(tmp_path / "a.mp4", pts_ms=[0, 40, 80, 500, 520, 1700, 2010])
    samples = _sampled(path, 2)
    assert [s.frame_index for s in samples] == [0, 3, 5, 6]
    assert [s.time_s for s in samples] == pytest.approx([0, 0.5, 1.7, 2.01])


def test_times_count_from_the_first_frame(tmp_path: Path, write_video: WriteVideo) -> None:
    late = [5000 + 100 * n for n in range(10)]
    samples = _sampled(write_video(tmp_path / "a.mp4", pts_ms=late, form="matroska"), 5)
    assert [s.frame_index for s in samples] == [0, 2, 4, 6, 8]
    assert samples[0].time_s == 0
    assert samples[0].pts * samples[0].time_base == 5, "the timestamp itself is recorded as the file has it"


def test_b_frames_come_in_the_order_of_showing(tmp_path: Path, write_video: WriteVideo) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=2, options={"preset": "medium", "bf": "3", "b_strategy": "0", "g": "12"})
    samples = _sampled(path, 10)
    assert [_number(s) for s in samples] == list(range(20))
    assert [s.pts for s in samples] == sorted(s.pts for s in samples)


def test_no_more_frames_than_asked_for_and_these_over_all_of_the_clip(tmp_path: Path, write_video: WriteVideo) -> None:
    samples = _sampled(write_video(tmp_path / "a.mp4", seconds=2.1), 10, most=3)
    assert [s.frame_index for s in samples] == [0, 10, 20]


def test_long_clip_is_sampled_to_its_end() -> None:
    """A minute at 10 frames a second: 120 of the 240 frames that 4 a second would be, half a second apart."""
    index = FrameIndex(list(range(600)), [0], Fraction(1, 10))
    planned = plan_samples(index, 4.0, 120)
    assert len(planned) == 120
    assert (planned[0], planned[-1]) == (0, 599)
    assert set(np.diff(planned)) <= {5, 6}
    assert plan_samples(index, 2.0, 120) == list(range(0, 600, 5)), "the rate is met as long as it gives no more"
    assert plan_samples(index, 4.0, 1) == [0]


def test_timestamps_that_begin_anew_are_one_rising_clock(zoo: Any) -> None:
    """One second of frames and then two more, whose own timestamps both begin at the same time."""
    samples = _sampled(zoo.root / zoo.exhibits["restart"].path, 2)
    assert [s.time_s for s in samples] == pytest.approx([0, 0.5, 1.0, 1.5, 2.0, 2.5], abs=0.01)
    assert [s.frame_index for s in samples] == [0, 5, 10, 15, 20, 25]


def test_clip_cut_short_gives_what_it_has(tmp_path: Path, write_video: WriteVideo) -> None:
    path = write_video(tmp_path / "a.mp4", pictures=_noise(20), container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = []
    with suppress(ClipError):  # the decoder may complain or just end
        for sample in sample_frames(path, 60, 1000):
            found.append(sample.frame_index)
    assert found == list(range(len(found)))
    assert 3 < len(found) < 20


def _noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 48, 64, 3), np.uint8)


def test_what_is_no_video_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"nothing to see" * 100)
    with pytest.raises(ClipError, match="decode_failed: reading packets stopped"):
        _sampled(path, 4)


def test_metadata_in_foreign_letters_does_no_harm(tmp_path: Path, write_video: WriteVideo) -> None:
    path = write_video(tmp_path / "a.mp4", title="caf\u00e9 XYZ")
    path.write_bytes(path.read_bytes().replace("caf\u00e9".encode(), b"caf\xe9\xe9"))
    assert len(_sampled(path, 60)) == 10
    assert frame_at(path, 0).shape == (48, 64, 3)


def test_frame_at_is_the_frame_that_was_sampled(tmp_path: Path, write_video: WriteVideo) -> None:
    path = write_video(tmp_path / "a.mp4", pictures=_noise(12), options={"preset": "medium", "bf": "2"})
    for sample in _sampled(path, 5):
        assert np.array_equal(frame_at(path, sample.frame_index), sample.image_rgb)
    with pytest.raises(ClipError, match="there is no frame 12"):
        frame_at(path, 12)


def test_a_list_of_files_is_never_followed(tmp_path: Path, write_video: WriteVideo) -> None:
    write_video(tmp_path / "other.mp4")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(ClipError, match="reading packets stopped"):
        _sampled(tmp_path / "list.mp4", 4)
    with pytest.raises(ClipError, match="decoding stopped before frame 0"):
        frame_at(tmp_path / "list.mp4", 0)
