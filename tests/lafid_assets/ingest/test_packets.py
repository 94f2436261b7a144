"""Timestamps without decoding, and what a header promises."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from lafid_assets.ingest.packets import open_clip, promised_s, read_index
from model.encoding.shown import shown_frames


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
