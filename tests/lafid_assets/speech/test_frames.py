"""Pictures come at the wanted times, upright, on the clock that begins at the first picture."""

import struct

import av
import numpy as np
import pytest

from lafid_assets.outcomes import ClipError, Reason
from lafid_assets.speech.frames import sample_frames
from lafid_assets.speech.voice import Span


@pytest.fixture
def counted(tmp_path, write_clip):
    """Four seconds at 25 pictures a second, each as bright as its number; the first has the time stamp 1.2 s."""
    pictures = np.zeros((100, 64, 64, 3), np.uint8) + np.arange(100, dtype=np.uint8)[:, None, None, None]
    return write_clip(tmp_path / "clip", pictures=pictures, picture_starts_s=1.2)


def test_times_count_from_the_first_picture(counted):
    looks = list(sample_frames(counted, [Span(0.0, 4.0)], 25))
    assert [int(look.image[0, 0, 0]) for look in looks] == list(range(100))
    assert np.allclose([look.time_s for look in looks], np.arange(100) / 25, atol=0.002)


def test_only_wanted_spans_at_the_wanted_rate(counted):
    looks = list(sample_frames(counted, [Span(0.5, 1.0), Span(2.0, 3.0)], 12.5))
    assert all(0.499 < look.time_s < 1.001 for look in looks if look.span_index == 0)
    assert all(1.999 < look.time_s < 3.001 for look in looks if look.span_index == 1)
    assert [sum(look.span_index == i for look in looks) for i in (0, 1)] == [7, 13]


def test_more_than_the_clip_has_is_every_picture(counted):
    assert len(list(sample_frames(counted, [Span(0.0, 1.0)], 60))) == 26


def test_no_spans_and_no_pictures_are_no_looks(tmp_path, write_clip, noise):
    assert list(sample_frames(tmp_path / "never opened", [], 25)) == []
    assert list(sample_frames(write_clip(tmp_path / "clip", samples=noise(0.2)), [Span(0.0, 1.0)], 25)) == []


def test_a_phone_held_upright_gives_an_upright_picture(tmp_path):
    """An mp4 whose display matrix turns a picture with a white left half clockwise: white comes out on top."""
    path = tmp_path / "clip"
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, :32] = 255
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    content = bytearray(path.read_bytes())
    matrix_at = content.index(b"tkhd") + 44  # ISO 14496-12, 8.3.2: after type, version and 36 bytes of fields
    content[matrix_at : matrix_at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 32 << 16, 0, 1 << 30)
    path.write_bytes(content)
    (look,) = sample_frames(path, [Span(0.0, 1.0)], 25)
    assert look.image.shape == (64, 32, 3)
    assert look.image[:30].mean() > 250
    assert look.image[34:].mean() < 5


def test_broken_file_is_a_clip_error_that_names_it(tmp_path):
    (tmp_path / "deadbeef").write_bytes(b"\x00" * 100)
    with pytest.raises(ClipError, match="deadbeef") as caught:
        list(sample_frames(tmp_path / "deadbeef", [Span(0.0, 1.0)], 25))
    assert caught.value.reason is Reason.DECODE_FAILED
    assert str(tmp_path) not in str(caught.value)
