"""Timestamps without decoding, and what a header promises."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from lafid_assets.faces.survey import cut_short
from lafid_assets.ingest.packets import open_clip, promised_s, read_index
from model.encoding.shown import shown_frames
from model.encoding.video_io import read_frames


def _path(zoo: Any, kind: str) -> Any:
    return zoo.root / zoo.exhibits[kind].path


def test_pieces_are_one_rising_clock(zoo: Any) -> None:
    index = read_index(_path(zoo, "restart"))
    assert (len(index.pts), len(set(index.pts)), index.runs) == (30, 30, 2)
    assert index.restarts == (index.pts[10],)
    assert index.duration_s == pytest.approx(3.0, abs=0.01)
    assert [pts for pts in index.keyframe_pts if pts not in index.pts] == []


@pytest.mark.parametrize(("kind", "frames"), [("whole", 20), ("late", 10), ("b_frames", 20), ("zero_fps", 10), ("endless", 10)])
def test_every_frame_has_its_timestamp(zoo: Any, kind: str, frames: int) -> None:
    index = read_index(_path(zoo, kind))
    assert (len(set(index.pts)), index.runs, index.restarts) == (frames, 1, ())


@pytest.mark.parametrize(
    ("kind", "promised"),
    [("whole", 2.0), ("sound_goes_on", None), ("sound_goes_on_in_mp4", 1.5), ("cut_in_the_middle", 2.0), ("restart", None)],
)
def test_a_promise_is_one_of_pictures(zoo: Any, kind: str, promised: float | None) -> None:
    assert promised_s(_path(zoo, kind)) == promised


@pytest.mark.parametrize("kind", ["cut_in_the_middle", "cut_matroska", "claims_years"])
def test_a_file_that_is_cut_short_promises_more_than_it_holds(zoo: Any, kind: str) -> None:
    path = _path(zoo, kind)
    assert promised_s(path) > 1.5 * read_index(path).duration_s


def test_television_recorded_from_any_picture_on_begins_with_its_first_keyframe(
    tmp_path: Path, write_video: Callable[..., Path]
) -> None:
    path = write_video(tmp_path / "whole.ts", seconds=3, form="mpegts", options={"g": "10"})
    with av.open(str(path)) as container:
        fifth = [packet.pos for packet in container.demux(video=0) if packet.size][4]
    content = path.read_bytes()
    (tmp_path / "late.ts").write_bytes(content[: 3 * 188] + content[fifth:])
    index = read_index(tmp_path / "late.ts")
    assert len(index.pts) == 20
    with open_clip(tmp_path / "late.ts") as container:
        assert [frame.pts for frame in shown_frames(container, container.streams.video[0])] == index.pts


def _moving(frames: int) -> NDArray[np.uint8]:
    """A soft spot on its way to the right, which an encoder makes B-frames of: (frames, 48, 64, 3)."""
    x, y = np.arange(64)[None] - 10, np.arange(48)[:, None] - 24
    spots = [40 + 180 * np.exp(-((x - 0.7 * number) ** 2 + y**2) / 120) for number in range(frames)]
    return np.repeat(np.stack(spots).astype(np.uint8)[..., None], 3, axis=3)


@pytest.mark.parametrize(
    ("fps", "options"),
    [
        *((fps, {"preset": "medium"}) for fps in (1, 2, 5, 6)),
        (24, {"preset": "medium", "bf": "16", "x264-params": "b-adapt=0:scenecut=0"}),
    ],
)
def test_a_slow_film_in_matroska_is_one_run(
    tmp_path: Path, write_video: Callable[..., Path], fps: int, options: dict[str, str]
) -> None:
    """The first packets have no decoding timestamp, and lie seconds apart."""
    path = write_video(tmp_path / "slow.mkv", fps=fps, pictures=_moving(24), options=options, form="matroska")
    with av.open(str(path)) as container:
        assert next(packet.dts for packet in container.demux(video=0)) is None
        container.seek(0)
        shown = [frame.pts for frame in container.decode(video=0)]
    index = read_index(path)
    assert (index.runs, index.restarts, index.pts) == (1, (), shown)
    assert index.duration_s == pytest.approx(24 / fps, abs=0.01)


def _held_in_the_end(path: Path, codec: str, form: str, step_s: float, held_s: float) -> Path:
    """20 pictures of the one length and a last one of the other, each brighter than the one before."""
    with av.open(str(path), "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=round(1 / step_s), options={"bf": "0"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8" if codec == "gif" else "yuv420p"
        pictures = (av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * n, np.uint8), format="rgb24") for n in range(21))
        packets = [packet for one in [*pictures, None] for packet in stream.encode(one and one.reformat(format=stream.pix_fmt))]
        for packet in packets:
            packet.duration = round((held_s if packet is packets[-1] else step_s) / packet.time_base)
        container.mux(packets)
    return path


@pytest.mark.parametrize(
    ("codec", "form", "step_s", "held_s"),
    [
        ("gif", "gif", 0.1, 3.0),
        ("gif", "gif", 0.04, 2.0),
        *(("libx264", form, 0.1, held_s) for form in ("mp4", "mov", "matroska") for held_s in (8.0, 1.5)),
    ],
)
def test_a_last_picture_that_is_held_is_shown_so_long(
    tmp_path: Path, codec: str, form: str, step_s: float, held_s: float
) -> None:
    """Whoever records a screen, or draws a GIF, lets it stand in the end; nothing of that is cut off."""
    path = _held_in_the_end(tmp_path / "film", codec, form, step_s, held_s)
    index, ends_s = read_index(path), 20 * step_s + held_s
    assert index.duration_s == pytest.approx(ends_s, abs=0.01)
    assert cut_short(index, promised_s(path)) is None
    last, held = read_frames(path, [20 * step_s + 0.01, ends_s - 0.1])
    assert np.array_equal(last, held)
