"""What a browser is given to play."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lafid_assets.ingest.packets import read_index
from lafid_assets.review.video import CannotPlay, EncodedClips, media_type
from model.encoding.footage import Piece
from tests.zoo import Zoo

PLAYED = {"video_only": "video/mp4", "with_sound": "video/mp4", "b_frames": "video/mp4", "one_frame": "video/mp4"}


def test_files_that_browsers_play_are_given_as_they_are(zoo: Zoo) -> None:
    for name, kind in PLAYED.items():
        assert media_type(zoo.root / zoo.exhibits[name].path) == kind, name


@pytest.mark.parametrize(("name", "codec", "kind"), [("a.mp4", "libsvtav1", "video/mp4"), ("a.webm", "libvpx-vp9", "video/webm")])
def test_a_codec_goes_by_its_own_name_and_not_by_its_decoders(tmp_path: Path, name: str, codec: str, kind: str) -> None:
    # In a process of its own: run by root, SVT-AV1 makes the process that encodes a real-time one, and starves all others.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert media_type(pool.submit(_write, tmp_path / name, codec).result()) == kind


@pytest.mark.parametrize("name", ["late", "matroska_inside"])
def test_others_are_not(zoo: Zoo, name: str) -> None:
    assert media_type(zoo.root / zoo.exhibits[name].path) is None


def _write(path: Path, codec: str, pix_fmt: str = "yuv420p") -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for value in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * value, np.uint8), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"), [("a.avi", "mpeg4", "yuv420p"), ("a.mp4", "mpeg4", "yuv420p"), ("b.mp4", "libx264", "yuv444p")]
)
def test_codecs_of_other_players_are_encoded_anew_with_all_frames(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    path = _write(tmp_path / name, codec, pix_fmt)
    assert media_type(path) is None
    encoded = EncodedClips(tmp_path / "review").file("a/../b", "sha" * 20, path)
    assert (encoded.parent, media_type(encoded)) == (tmp_path / "review", "video/mp4"), "whatever a clip is called"
    assert len(read_index(encoded).pts) == 5


def test_a_shot_is_played_alone_and_from_its_own_first_frame(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    path = write_video(tmp_path / "film.mp4", seconds=2, options={"g": "10"})
    pts = read_index(path).pts
    piece = Piece(path, pts[12], pts[16], pts[10], 1.2)
    assert media_type(piece) is None
    index = read_index(EncodedClips(tmp_path / "review").file("shot", "sha", piece))
    assert (len(index.pts), index.pts[0]) == (5, 0)


def test_encoded_clips_are_kept_while_there_is_room(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    path, clips = write_video(tmp_path / "a.mp4"), EncodedClips(tmp_path / "review", 1)
    first = clips.file("first", "sha", path)
    before = first.stat().st_ino
    assert clips.file("first", "sha", path).stat().st_ino == before, "not encoded again"
    second = clips.file("second", "sha", path)
    assert list((tmp_path / "review").iterdir()) == [second]


def test_what_cannot_be_decoded_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    assert media_type(broken) is None
    with pytest.raises(CannotPlay, match="cannot be decoded"):
        EncodedClips(tmp_path / "review").file("broken", "sha", broken)
    assert list((tmp_path / "review").glob("*")) == []
