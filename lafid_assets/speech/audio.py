"""The sound of a clip, on the clock of its pictures.

Belongs here: decoding to 16 kHz mono and placing the samples in time. Not here: what the sound means (`voice`, `lips`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from lafid_assets.outcomes import ClipError, Reason

SAMPLE_RATE_HZ = 16_000
_GAP_S = 0.05
"""Jumps of the time stamps below this are rounding or jitter of the muxer; above it, samples are missing."""
_LONGEST_S = 4 * 3600.0
"""Time stamps that span more than this are broken or no clip; an hour of samples takes 230 MB."""


@dataclass(frozen=True, eq=False)
class Audio:
    """Mono sound whose first sample lies at the time of the first picture.

    Attributes:
        samples: (N,) float32 in [-1, 1]. Sound from before the first picture is cut off; what is missing (a late start,
            lost packets) is 0.
        sample_rate_hz: always `SAMPLE_RATE_HZ`.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int = SAMPLE_RATE_HZ

    @property
    def duration_s(self) -> float:
        """From the first picture to the last sample."""
        return len(self.samples) / self.sample_rate_hz


def decode_audio(path: Path) -> Audio | None:
    """The clip's default audio stream; None where it has none.

    Raises:
        ClipError: `audio_unreadable`, naming the file, when it cannot be opened or decoded.
    """
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.audio:
                return None
            pieces = list(_pieces(container))
        with av.open(str(path), metadata_errors="replace") as container:
            zero_s = first_picture_s(container)
        return Audio(_laid_out(pieces, zero_s))
    except (av.FFmpegError, OSError) as error:  # its own text would repeat the path, and this machine's folders with it
        raise ClipError(Reason.AUDIO_UNREADABLE, f"{path.name}: {error.strerror}") from error
    except ValueError as error:
        raise ClipError(Reason.AUDIO_UNREADABLE, f"{path.name}: {error}") from error


def first_picture_s(container: InputContainer) -> float | None:
    """Time stamp of the first decodable picture, the zero of the clip's clock; None without a picture.

    The stream's declared start is not used: edit lists and broken pictures make it differ from what is seen.
    """
    if not container.streams.video:
        return None
    for frame in container.decode(container.streams.video[0]):
        if frame.time is not None:
            return frame.time
    return None


def _pieces(container: InputContainer) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Stretches without gap: time stamp of the first sample in seconds, and (N,) samples at 16 kHz.

    A stream can change its layout, rate or sample format on the way, so the resampler follows each frame's own.
    """
    stream = container.streams.best("audio") or container.streams.audio[0]
    resampler = kind = None
    start_s = expected_s = 0.0
    heard = 0
    blocks: list[NDArray[np.float32]] = []
    for frame in container.decode(stream):
        assert isinstance(frame, av.AudioFrame)
        frame_kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        frame_s = expected_s if frame.time is None else frame.time
        if resampler is None or frame_kind != kind or abs(frame_s - expected_s) > _GAP_S:
            if resampler is not None:
                yield start_s, _joined(blocks, resampler)
            # 16 bit, because swresample keeps the level of a down-mix for integers only: floats of 5.1 come out 3.4 times as loud
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
            kind, start_s, heard, blocks = frame_kind, frame_s, 0, []
        heard += frame.samples
        expected_s = start_s + heard / frame.sample_rate  # counted from the piece's start, so that a slow drift adds up
        frame.pts = None  # the resampler would refuse time stamps that run backwards
        blocks += _samples(resampler.resample(frame))
    if resampler is not None:
        yield start_s, _joined(blocks, resampler)


def _joined(blocks: list[NDArray[np.float32]], resampler: av.AudioResampler) -> NDArray[np.float32]:
    """The blocks and what the resampler still holds, as one array."""
    return np.concatenate([np.empty(0, np.float32), *blocks, *_samples(resampler.resample(None))])


def _samples(frames: list[av.AudioFrame]) -> list[NDArray[np.float32]]:
    return [(frame.to_ndarray().reshape(-1) / 32768).astype(np.float32) for frame in frames]


def _laid_out(pieces: list[tuple[float, NDArray[np.float32]]], zero_s: float | None) -> NDArray[np.float32]:
    """All pieces on one line that begins at `zero_s` (without pictures: at the first sample)."""
    if not pieces:
        return np.empty(0, np.float32)
    zero = pieces[0][0] if zero_s is None else zero_s
    placed = [(round((start_s - zero) * SAMPLE_RATE_HZ), samples) for start_s, samples in pieces]
    length = max(0, max(start + len(samples) for start, samples in placed))
    if length > _LONGEST_S * SAMPLE_RATE_HZ:
        raise ValueError(f"the audio's time stamps run over {length / SAMPLE_RATE_HZ:.0f} s: remux the file")
    line = np.zeros(length, np.float32)
    for start, samples in placed:
        kept = samples[max(0, -start) :]
        line[max(0, start) : max(0, start) + len(kept)] = kept
    return line
