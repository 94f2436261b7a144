"""Frames by time, and mp4 that keeps the picture."""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from model.encoding.video_io import VideoError, fit_frames, frame_times, read_frames, write_mp4
from model.training.metrics import psnr


@pytest.fixture
def counting(tmp_path: Path) -> Path:
    """Two seconds at 10 frames a second; frame n is grey of value 10 n."""
    path = tmp_path / "counting.mp4"
    write_mp4(path, np.stack([np.full((16, 16, 3), 10 * n, np.uint8) for n in range(20)]), fps=10)
    return path


def shown(path: Path, *times_s: float) -> list[int]:
    return [round(float(frame.mean()) / 10) for frame in read_frames(path, times_s)]


def test_the_frame_on_screen_at_each_second(counting: Path) -> None:
    assert shown(counting, 0.0, 0.05, 0.1, 1.0, 1.94) == [0, 0, 1, 10, 19]
    assert shown(counting, 0.3, 0.3) == [3, 3]
    assert shown(counting, *frame_times(4, fps=5, start_s=0.4)) == [4, 6, 8, 10]


def test_too_short_names_the_second(counting: Path) -> None:
    with pytest.raises(VideoError, match=r"counting\.mp4 is too short: nothing is shown at 2\.50 s"):
        read_frames(counting, [0.0, 2.5])


def test_pictures_that_change_their_size_are_refused_where_both_are_asked_for(tmp_path: Path) -> None:
    """As conference recorders and television do."""
    path = tmp_path / "two_sizes.ts"
    with path.open("wb") as film:
        for number, (width, height) in enumerate(((64, 48), (32, 24))):
            part = io.BytesIO()
            with av.open(part, "w", format="mpegts", options={"mpegts_copyts": "1"}) as container:
                stream: Any = container.add_stream("libx264", rate=10)
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                for place in range(10 * number, 10 * number + 10):
                    frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24")
                    frame.pts, frame.time_base = place, Fraction(1, 10)
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
            film.write(part.getvalue())
    assert read_frames(path, [0.0, 0.5]).shape == (2, 48, 64, 3)
    assert read_frames(path, [1.5]).shape == (1, 24, 32, 3)
    with pytest.raises(VideoError, match=r"two_sizes\.ts changes its size: 32 x 24 px at 1\.50 s, 64 x 48 px at 0\.50 s"):
        read_frames(path, [0.5, 1.5])


def test_no_video_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"text\.mp4"):
        read_frames(tmp_path / "text.mp4", [0.0])


def test_a_codec_without_a_decoder_names_the_file(counting: Path) -> None:
    counting.write_bytes(counting.read_bytes().replace(b"avc1", b"zzz1"))
    with pytest.raises(VideoError, match=r"counting\.mp4 cannot be decoded"):
        read_frames(counting, [0.0])


def test_it_is_h264_yuv420p(counting: Path) -> None:
    with av.open(str(counting)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 10


GREEN = (40, 200, 40)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (720, 1280)])
def test_it_says_its_colours_and_keeps_them_at_every_size(tmp_path: Path, height: int, width: int) -> None:
    """Luma by BT.709's own arithmetic: players that go by the tags show what was drawn."""
    path = tmp_path / "green.mp4"
    write_mp4(path, np.broadcast_to(np.array(GREEN, np.uint8), (2, height, width, 3)), fps=8)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (1, 1, 1, 1)
    luma = 16 + 219 / 255 * np.dot((0.2126, 0.7152, 0.0722), GREEN)
    assert abs(float(np.frombuffer(frame.planes[0], np.uint8)[: width // 2].mean()) - luma) < 1
    assert np.abs(read_frames(path, [0.0])[0].astype(int) - GREEN).max() <= 2


def test_it_plays_from_its_first_bytes_on(counting: Path) -> None:
    written = counting.read_bytes()
    assert 0 < written.index(b"moov") < written.index(b"mdat")


def test_an_odd_side_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="odd"):
        write_mp4(tmp_path / "odd.mp4", np.zeros((2, 15, 16, 3), np.uint8), fps=8)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_a_photograph_survives_at_64_px_with_30_db(tmp_path: Path, name: str) -> None:
    photograph = getattr(pytest.importorskip("skimage.data", reason="needs scikit-image's photographs"), name)()
    small = np.asarray(Image.fromarray(photograph).resize((64, 64), Image.Resampling.BICUBIC))
    path = tmp_path / "photo.mp4"
    write_mp4(path, np.stack([small] * 9), fps=8)
    assert psnr(read_frames(path, [0.0])[0], small) >= 30


def test_fitting_cuts_to_the_aspect_around_the_centre() -> None:
    wide = np.zeros((1, 20, 60, 3), np.uint8)
    wide[:, :, 30:] = 255
    assert fit_frames(wide, 10, 10, centre_xy_px=(0, 10)).max() == 0
    assert fit_frames(wide, 10, 10, centre_xy_px=(59, 10)).min() == 255
    assert fit_frames(wide, 10, 10)[0, 5].mean(axis=1).tolist() == pytest.approx([0, 0, 0, 0, 0, 255, 255, 255, 255, 255], abs=20)
    assert fit_frames(wide, 20, 60).shape == (1, 20, 60, 3)
    assert np.array_equal(fit_frames(wide, 20, 60), wide)
    # 1920 / 464 * 464 is more than 1920 by a rounding.
    assert fit_frames(np.zeros((1, 80, 1920, 3), np.uint8), 16, 464).shape == (1, 16, 464, 3)
