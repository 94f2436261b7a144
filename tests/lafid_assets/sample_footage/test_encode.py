"""The files themselves."""

import io

import av
import numpy as np

from lafid_assets.sample_footage.encode import encode_mp4
from lafid_assets.sample_footage.voice import SAMPLE_RATE_HZ, ambience

FRAMES = [np.full((48, 64, 3), 5 * i, np.uint8) for i in range(25)]


def test_a_file_is_h264_at_the_asked_rate_and_size() -> None:
    with av.open(io.BytesIO(encode_mp4(FRAMES, 25, (64, 48), None))) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height) == (64, 48)
        assert stream.average_rate == 25
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(decoded) == len(FRAMES)
    assert abs(int(decoded[20].mean()) - 100) <= 3


def test_sound_lasts_as_long_as_it_is_given_and_is_absent_when_it_is_not() -> None:
    with av.open(io.BytesIO(encode_mp4(FRAMES, 25, (64, 48), ambience(1.0, 0)))) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.name == "aac"
        heard = sum(frame.samples for frame in container.decode(stream))
    assert abs(heard - SAMPLE_RATE_HZ) <= 2048
    with av.open(io.BytesIO(encode_mp4(FRAMES, 25, (64, 48), None))) as container:
        assert not container.streams.audio


def test_the_same_input_gives_the_same_bytes() -> None:
    sound = ambience(1.0, 0)
    assert encode_mp4(FRAMES, 25, (64, 48), sound) == encode_mp4(FRAMES, 25, (64, 48), sound)
