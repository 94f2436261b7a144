"""Frames and sound into the file that OpenHumanVid ships: H.264 and AAC in mp4.

Belongs here: compression, the same bytes for the same input. Not here: what is seen (`render`) or heard (`voice`).
"""

import io
from collections.abc import Iterable

import av
import numpy as np
from numpy.typing import NDArray

from lafid_assets.sample_footage.voice import SAMPLE_RATE_HZ, Samples

_X264_OPTIONS = {"preset": "superfast", "crf": "21", "threads": "1", "x264-params": "mbtree=0:cpu-independent=1"}
"""One thread, because several split the work, and with it the bits, by the number of cores; no macroblock tree, whose decisions
depend on what the heap held before (seen with libx264 core 165: 5 different files from 10 equal encodings, 1 from 40 without)."""


def encode_mp4(frames: Iterable[NDArray[np.uint8]], fps: int, size: tuple[int, int], sound: Samples | None) -> bytes:
    """The bytes of an mp4 file.

    Args:
        frames: (height, width, 3) RGB each.
        fps: frames a second.
        size: width, height in pixels, both even.
        sound: mono at `SAMPLE_RATE_HZ`; without it the file has no audio stream.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=fps, options=_X264_OPTIONS)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        audio = None
        if sound is not None:
            audio = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
            audio.bit_rate = 64_000
        for pixels in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode(None))
        if audio is not None and sound is not None:
            wave = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            wave.sample_rate = SAMPLE_RATE_HZ
            container.mux(audio.encode(wave))
            container.mux(audio.encode(None))
    return file.getvalue()
