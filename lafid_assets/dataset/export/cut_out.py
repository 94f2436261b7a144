"""A piece of a recording as a file of its own, for whoever does not have the recording, or cannot play it.

Belongs here: piece -> mp4, as viewers see and hear it. Not here: clips that leave as the files that they are (`samples`).

A piece seldom begins with a keyframe, so that it is encoded anew: pictures visually lossless, at their own times, sound as AAC in
its own rate and layout. The same piece gives the same bytes.
"""

import io
import itertools
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from lafid_assets.ingest.packets import open_clip, read_index
from model.encoding.footage import Piece, file_of
from model.encoding.heard import TrackUndecodable, heard_frames, of_first_track
from model.encoding.seeking import sound_from, time_s
from model.encoding.shown import main_video, shown_frames
from model.encoding.video_io import bt709_frame, tag_bt709

_CLOCK = Fraction(1, 90_000)
_X264_OPTIONS = {"crf": "14", "preset": "medium", "threads": "1", "x264-params": "mbtree=0:cpu-independent=1"}
_LEAD_IN_S = 0.5
_SAMPLES_A_FRAME = 1024

Sound = NDArray[np.float32]
"""(channels, N) in [-1, 1]."""


def cut_out(piece: Piece, side_px: int | None = None, options: Mapping[str, str] = _X264_OPTIONS) -> bytes:
    """The piece as an mp4.

    Args:
        side_px: to which its longer side is reduced; None leaves it.
        options: the encoder's.

    Raises:
        av.FFmpegError, ClipError: it cannot be decoded.
    """
    buffer, index = io.BytesIO(), read_index(piece)
    end = piece.last_pts + index.held
    with open_clip(file_of(piece)) as source, av.open(buffer, "w", format="mp4") as target:
        stream = main_video(source)
        stream.thread_count = 1
        rate = stream.average_rate or 25
        sound = _sound_of(piece, float(piece.first_pts * index.time_base), float(end * index.time_base))
        video: Any = None
        for shown in shown_frames(source, stream, piece):
            image = shown.rgb(side_px)
            image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]  # yuv420p holds no odd side
            if video is None:
                video = target.add_stream("libx264", rate=rate, options=dict(options))
                video.height, video.width, video.pix_fmt = image.shape[0], image.shape[1], "yuv420p"
                video.codec_context.time_base = _CLOCK
                tag_bt709(video.codec_context)
                audio = _add_sound(target, sound)
            target.mux(video.encode(_at(shown.pts - piece.first_pts, index.time_base, image)))
        if video is not None:
            if index.held >= 2 * index.step:  # no encoder is told for how long: it is shown once more, in the end
                target.mux(video.encode(_at(end - index.step - piece.first_pts, index.time_base, image)))
            target.mux(video.encode(None))
            _write_sound(target, audio, sound)
    return buffer.getvalue()


def _at(stamp: int, time_base: Fraction, image: NDArray[np.uint8]) -> av.VideoFrame:
    frame = bt709_frame(image)
    frame.time_base, frame.pts = _CLOCK, round(stamp * time_base / _CLOCK)
    return frame


def _sound_of(piece: Piece, begin_s: float, end_s: float) -> tuple[Sound, int, str] | None:
    """The sound of the piece, its rate and its layout; None without any that can be decoded, or where the clock begins anew."""
    if piece.keyframe_pts is None:
        return None

    def read(source: InputContainer, track: AudioStream) -> tuple[Sound, int, str]:
        rate, layout, channels = track.rate, track.layout.name, track.layout.nb_channels
        if layout == f"{channels} channels":  # PCM often does not say where they stand
            layout = av.AudioLayout(f"{channels}c").name
        line = np.zeros((channels, round((end_s - begin_s) * rate)), np.float32)
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        packets = sound_from(source, track, main_video(source), begin_s - _LEAD_IN_S)
        for frame in heard_frames(track, itertools.takewhile(lambda packet: not time_s(packet) >= end_s, packets)):
            if frame is None or frame.time is None:
                continue
            at = round((frame.time - begin_s) * rate)
            frame.pts = None
            for part in resampler.resample(frame):
                samples = part.to_ndarray()[:, max(0, -at) :]
                place = max(0, at)
                samples = samples[:, : max(0, line.shape[1] - place)]
                line[:, place : place + samples.shape[1]] = samples
                at += part.samples
        return line, rate, layout

    try:
        return of_first_track(lambda: open_clip(file_of(piece)), read)
    except TrackUndecodable:
        return None


def _add_sound(target: av.container.OutputContainer, sound: tuple[Sound, int, str] | None) -> Any:
    return None if sound is None else target.add_stream("aac", rate=sound[1], layout=sound[2])


def _write_sound(target: av.container.OutputContainer, stream: Any, sound: tuple[Sound, int, str] | None) -> None:
    if sound is None:
        return
    line, rate, layout = sound
    for start in range(0, line.shape[1], _SAMPLES_A_FRAME):
        samples = np.ascontiguousarray(line[:, start : start + _SAMPLES_A_FRAME])
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        target.mux(stream.encode(frame))
    target.mux(stream.encode(None))
