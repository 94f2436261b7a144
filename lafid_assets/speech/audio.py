"""The sound of a clip, on the clock of its pictures.

Belongs here: decoding to 16 kHz mono and placing the samples in time. Not here: what the sound means (`voice`, `lips`).
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from numpy.typing import NDArray

from lafid_assets.ingest.packets import read_index
from lafid_assets.outcomes import ClipError, Reason
from lafid_assets.speech.sound_runs import GAP_S, sound_of_run
from model.encoding.footage import Footage, Piece, file_of
from model.encoding.heard import heard_frames, of_first_track
from model.encoding.seeking import sound_from, sound_packets, time_s
from model.encoding.shown import BACKWARDS_S, main_video

SAMPLE_RATE_HZ = 16_000
_LONGEST_S = 4 * 3600.0
"""Time stamps that span more than this are broken or no clip; an hour of samples takes 230 MB."""
_CANCELLED_SHARE = 0.1
"""A mix that is softer than this share of its loudest channel has cancelled: in 7.1, the least weight of a channel is 0.11."""
_OPPOSED_SHARE = 0.7
"""Two channels have cancelled where their mix is softer than this share of what channels with nothing in common give. One alone
gives all of that; a voice in opposite phase is kept where it is 5 dB louder than what is in phase."""
_LEAD_IN_S = 0.5
"""How much is decoded before the sound of a piece begins, and cut off: decoders need some to be right."""
_JUDGED_S = 1.0
"""How much sound is mixed, or not, at a time."""


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


def decode_audio(footage: Footage) -> Audio | None:
    """The clip's first audio track that can be decoded; None where it has no track. Of a piece, what is heard with its pictures.

    Raises:
        ClipError: `audio_unreadable`, naming the file, when it cannot be opened or decoded, or no track has a decoder.
    """
    path = file_of(footage)

    def opened() -> InputContainer:
        return av.open(str(path), metadata_errors="replace")

    def line(container: InputContainer, track: AudioStream) -> NDArray[np.float32] | None:
        if isinstance(footage, Piece):
            return _with_its_pictures(container, track, footage)
        stretches = list(_stretches(heard_frames(track, sound_packets(container, track))))
        with opened() as again:
            zero_s = first_picture_s(again)
        return _laid_out(stretches, zero_s)

    try:
        samples = of_first_track(opened, line)
        return None if samples is None else Audio(samples)
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
    for frame in container.decode(main_video(container)):
        if frame.time is not None:
            return frame.time
    return None


def _with_its_pictures(container: InputContainer, track: AudioStream, piece: Piece) -> NDArray[np.float32] | None:
    """The sound from the first picture of a piece to the end of its last one; None where its file has none for it.

    Raises:
        ClipError: it has no pictures.
        ValueError: its first picture is not found, or it cannot be told which sound is its own.
    """
    own = sound_of_run(piece, track.index) if piece.keyframe_pts is None else None
    if own is not None and not own.packets:
        return None
    index, offset = read_index(piece), 0 if own is None else own.offset
    begin_s, end_s = (float((pts - offset) * index.time_base) for pts in (piece.first_pts, piece.last_pts + index.held))
    packets: Iterable[Packet]
    if own is None:
        packets = sound_from(container, track, main_video(container), begin_s - _LEAD_IN_S)
    else:
        packets = (packet for number, packet in enumerate(sound_packets(container, track)) if number in own.packets)
    packets = itertools.takewhile(lambda packet: not time_s(packet) >= end_s, packets)
    line = _laid_out(list(_stretches(heard_frames(track, packets))), begin_s)
    return line[: round((end_s - begin_s) * SAMPLE_RATE_HZ)]


def _stretches(frames: Iterable[av.AudioFrame | None]) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Stretches without gap: time stamp of the first sample in seconds, and (N,) samples at 16 kHz.

    A stream can change its layout, rate or sample format on the way, so the mixer follows each frame's own. Behind a packet that
    is lost (None) a stretch begins, however short the gap is: many short ones would add up.
    """
    mixer = kind = None
    start_s = expected_s = 0.0
    heard = 0
    for frame in frames:
        if frame is None:
            kind = None
            continue
        frame_kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        frame_s = expected_s if frame.time is None else frame.time
        if mixer is None or frame_kind != kind or abs(frame_s - expected_s) > GAP_S:
            if mixer is not None:
                yield start_s, mixer.finish()
            mixer = _Mixer(frame.layout)
            kind, start_s, heard = frame_kind, frame_s, 0
        heard += frame.samples
        expected_s = start_s + heard / frame.sample_rate  # counted from the stretch's start, so that a slow drift adds up
        frame.pts = None  # the resampler would refuse time stamps that run backwards
        mixer.take(frame)
    if mixer is not None:
        yield start_s, mixer.finish()


class _Mixer:
    """Frames of one kind to mono at 16 kHz: their mix, or the loudest channel where the mix cancels.

    Two channels of opposite phase sum to nothing, and a microphone wired the wrong way round records just that. Music or noise
    that is in phase is left of the mix then, and hides that a voice is gone.
    """

    def __init__(self, layout: av.AudioLayout) -> None:
        # 16 bit, because swresample keeps the level of a down-mix for integers only: floats of 5.1 come out 3.4 times as loud
        self._resampler = av.AudioResampler(format="s16", layout=layout, rate=SAMPLE_RATE_HZ)
        self._mixer = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
        self._channels: list[NDArray[np.int16]] = []
        self._mixed: list[NDArray[np.int16]] = []
        self._held = 0
        self._blocks: list[NDArray[np.float32]] = []

    def take(self, frame: av.AudioFrame | None) -> None:
        """Mix the next frame; None for what the resampler still holds."""
        for part in self._resampler.resample(frame):
            part.pts = None
            self._channels.append(part.to_ndarray().astype(np.int16, copy=False).reshape(part.samples, -1))
            self._mixed += [mixed.to_ndarray()[0].astype(np.int16, copy=False) for mixed in self._mixer.resample(part)]
            self._held += part.samples
        if self._held and (frame is None or self._held >= _JUDGED_S * SAMPLE_RATE_HZ):
            self._judge()

    def finish(self) -> NDArray[np.float32]:
        """(N,) in [-1, 1]: everything taken."""
        self.take(None)
        return np.concatenate([np.empty(0, np.float32), *self._blocks])

    def _judge(self) -> None:
        channels, sound = np.concatenate(self._channels), np.concatenate(self._mixed)
        levels = np.sqrt((channels.astype(np.float32) ** 2).mean(axis=0))
        least = _OPPOSED_SHARE * np.hypot(*levels) / 2 if len(levels) == 2 else _CANCELLED_SHARE * levels.max()
        if np.sqrt((sound.astype(np.float32) ** 2).mean()) < least:
            sound = channels[:, levels.argmax()]
        self._blocks.append((sound / 32768).astype(np.float32))
        self._channels, self._mixed, self._held = [], [], 0


def _laid_out(stretches: list[tuple[float, NDArray[np.float32]]], zero_s: float | None) -> NDArray[np.float32]:
    """All stretches on one line that begins at `zero_s` (without pictures: at the first sample).

    Raises:
        ValueError: they overlap, or span more than any clip.
    """
    if not stretches:
        return np.empty(0, np.float32)
    ends_s = [start_s + len(samples) / SAMPLE_RATE_HZ for start_s, samples in stretches]
    if any(start_s < end_s - BACKWARDS_S for (start_s, _), end_s in zip(stretches[1:], ends_s, strict=False)):
        raise ValueError("its sound begins anew where its pictures do not")
    zero = stretches[0][0] if zero_s is None else zero_s
    placed = [(round((start_s - zero) * SAMPLE_RATE_HZ), samples) for start_s, samples in stretches]
    length = max(0, max(start + len(samples) for start, samples in placed))
    if length > _LONGEST_S * SAMPLE_RATE_HZ:
        raise ValueError(f"the audio's time stamps run over {length / SAMPLE_RATE_HZ:.0f} s: remux the file")
    line = np.zeros(length, np.float32)
    for start, samples in placed:
        kept = samples[max(0, -start) :]
        line[max(0, start) : max(0, start) + len(kept)] = kept
    return line
