"""Pieces of a recording are seen and heard as they lie in it, in every container that the ingest takes."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from lafid_assets.dataset.export.cut_out import cut_out
from lafid_assets.faces.scan_frames import look_into
from lafid_assets.ingest.packets import FrameIndex, open_clip, read_index
from lafid_assets.shots.boundaries import Kind
from lafid_assets.shots.pieces import split_at_cuts
from lafid_assets.speech.audio import SAMPLE_RATE_HZ, decode_audio
from model.encoding.footage import Piece, footage_in
from model.encoding.shown import ShownFrame, main_video, shown_frames

FPS, SECONDS, GOP = 25, 8, 25
RATE_HZ = 48_000
FRAMES = FPS * SECONDS
FLASHES = [5, 30, 80, 130, 180]
CUTS = [10, 57, 111, 160]
"""First frames of the pieces, of which each holds a flash."""
MPEG = {"bf": "2", "sc_threshold": "1000000000"}
"""Even groups of pictures: of the small ones here forty lie behind one timestamp, from which FFmpeg reckons theirs."""
FAST = {"deadline": "realtime", "cpu-used": "8"}
SCORES = {Kind.HARD: 2.0, Kind.GRADUAL: 1.5}

FILMS = {
    "mp4": ("mp4", "libx264", "aac", {}),
    "mov": ("mov", "libx264", "aac", {}),
    "mkv": ("matroska", "libx264", "aac", {}),
    "webm": ("webm", "libvpx", "libopus", FAST),
    "ts": ("mpegts", "libx264", "aac", {}),
    "ts of one keyframe": ("mpegts", "libx264", "aac", {"x264-params": "keyint=250:scenecut=0"}),
    "ts refreshed little by little": ("mpegts", "libx264", "aac", {"x264-params": "keyint=25:scenecut=0:intra-refresh=1"}),
    "m2ts of mpeg2 and ac3": ("mpegts", "mpeg2video", "ac3", MPEG),
    "vob of ac3": ("vob", "mpeg2video", "ac3", MPEG),
    "vob of mp2": ("vob", "mpeg2video", "mp2", MPEG),
    "mpg": ("mpeg", "mpeg1video", "mp2", MPEG),
    "avi": ("avi", "mpeg4", "libmp3lame", {}),
    "avi of h264": ("avi", "libx264", "libmp3lame", {}),
    "avi of pcm": ("avi", "mjpeg", "pcm_s16le", {}),
    "flv": ("flv", "libx264", "aac", {}),
    "asf": ("asf", "wmv2", "libmp3lame", {}),
    "ogg": ("ogg", "libvpx", "libopus", FAST),
    "nut": ("nut", "libx264", "aac", {}),
    "mxf": ("mxf", "mpeg2video", "pcm_s16le", {}),
    "gif": ("gif", "gif", None, {}),
}


@dataclass(frozen=True)
class Film:
    path: Path
    index: FrameIndex
    frames: list[ShownFrame]
    pieces: list[Piece]
    has_sound: bool


def _sound(container: Any, stream: Any) -> Iterator[Any]:
    """Silence, and a click of 20 ms with each flash."""
    samples = np.zeros((SECONDS + 1) * RATE_HZ, np.float32)
    for number in FLASHES:
        samples[number * RATE_HZ // FPS :][: RATE_HZ // 50] = 0.8 * np.sin(np.arange(RATE_HZ // 50) * 0.3)
    size, layout = stream.codec_context.frame_size or 1024, stream.codec_context.format.name
    scale, kind = {"s16": (2**15 - 1, np.int16), "s32": (2**31 - 129, np.int32)}.get(layout.rstrip("p"), (1, np.float32))
    for start in range(0, SECONDS * RATE_HZ, size):
        part = (samples[start : start + size].astype(np.float64) * scale).astype(kind)
        frame = av.AudioFrame.from_ndarray(part[None], format=layout, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
        yield start / RATE_HZ, frame


def _write(path: Path, kind: str) -> None:
    """Pictures that grow from dark to grey from left to right, white where they flash."""
    form, video_codec, audio_codec, options = FILMS[kind]
    with av.open(str(path), "w", format=form) as container:
        usual = {"g": str(GOP), "bf": "3" if video_codec == "libx264" else "0"}
        video: Any = container.add_stream(video_codec, rate=FPS, options=usual | options)
        video.width, video.height = 64, 48
        video.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(video_codec, "yuv420p")
        audio: Any = container.add_stream(audio_codec, rate=RATE_HZ, layout="mono") if audio_codec else None
        sound = _sound(container, audio) if audio else iter(())
        waiting = next(sound, None)
        for number in range(FRAMES):
            picture = np.full((48, 64, 3), 20, np.uint8)
            picture[:, : 1 + 63 * number // FRAMES] = 90
            if number in FLASHES:
                picture[...] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=video.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
            while waiting is not None and waiting[0] < (number + 1) / FPS:
                container.mux(audio.encode(waiting[1]))
                waiting = next(sound, None)
        for stream in (video, audio):
            if stream is not None:
                container.mux(stream.encode(None))


def _frames(footage: Path | Piece) -> list[ShownFrame]:
    with open_clip(footage.file if isinstance(footage, Piece) else footage) as container:
        stream = main_video(container)
        stream.thread_count = 1
        return list(shown_frames(container, stream, footage))


@pytest.fixture(scope="module", params=FILMS)
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Film:
    path = tmp_path_factory.mktemp("films") / "film"
    _write(path, request.param)
    index = read_index(path)
    cuts = [
        {"kind": Kind.HARD, "last_pts_before": index.pts[first - 1], "first_pts_behind": index.pts[first], "score": 3.0}
        for first in CUTS
    ]
    pieces: Any = [footage_in(path, row) for row in split_at_cuts(index, cuts, SCORES)]
    return Film(path, index, _frames(path), pieces, FILMS[request.param][2] is not None)


def test_a_piece_holds_the_pictures_of_its_file(film: Film) -> None:
    assert [frame.pts for frame in film.frames] == film.index.pts
    assert len(film.frames) == FRAMES
    for piece, first, end in zip(film.pieces, [0, *CUTS], [*CUTS, FRAMES], strict=True):
        seen, own = _frames(piece), film.frames[first:end]
        assert [frame.pts for frame in seen] == [frame.pts for frame in own]
        assert [frame.index for frame in seen] == list(range(end - first))
        assert all(np.array_equal(frame.rgb(), same.rgb()) for frame, same in zip(seen, own, strict=True))
        assert read_index(piece).pts == film.index.pts[first:end]


def test_a_look_into_a_piece_is_at_the_frame_that_was_asked_for(film: Film) -> None:
    for piece in film.pieces:
        index = read_index(piece)
        planned = [index.pts[0], index.pts[len(index.pts) // 2], index.pts[-1]]
        looks = list(look_into(piece, index, planned))
        assert looks
        for look, pts in zip(looks, planned, strict=False):
            assert 0 <= look.pts - pts <= 3 * index.step, "at the next frame that others refer to"


def _flash_s(piece: Piece) -> list[float]:
    return [frame.time_since(piece.first_pts) for frame in _frames(piece) if frame.rgb().mean() > 200]


def _click_s(samples: NDArray[np.float32]) -> list[float]:
    loud = np.flatnonzero(np.abs(samples) > 0.3)
    return (loud[np.insert(np.diff(loud) > SAMPLE_RATE_HZ // 10, 0, True)] / SAMPLE_RATE_HZ).tolist() if len(loud) else []


def test_a_piece_is_heard_with_its_pictures(film: Film, tmp_path: Path) -> None:
    if not film.has_sound:
        assert all(decode_audio(piece) is None for piece in film.pieces)
        return
    for number, piece in enumerate(film.pieces):
        audio, flashes = decode_audio(piece), _flash_s(piece)
        assert audio is not None
        assert len(flashes) == 1
        assert _click_s(audio.samples) == pytest.approx(flashes, abs=0.03), number
    target = tmp_path / "shot.mp4"
    for number in (0, 3):
        target.write_bytes(cut_out(film.pieces[number]))
        audio = decode_audio(target)
        assert audio is not None
        assert _click_s(audio.samples) == pytest.approx(_flash_s(film.pieces[number]), abs=0.05)
