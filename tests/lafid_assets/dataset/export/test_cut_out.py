"""A shot leaves as a file of its own."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from lafid_assets.dataset.export.cut_out import cut_out
from lafid_assets.ingest.packets import read_index
from lafid_assets.speech.audio import decode_audio
from model.encoding.footage import Piece
from model.encoding.video_io import read_frames


def test_a_shot_is_cut_out_as_it_is_seen_and_heard(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    """Frames 12 to 19 of 24, each brighter than the one before, and a tone that goes on to the end."""
    path = write_video(tmp_path / "film.mp4", seconds=2.4, sound_s=2.4, options={"g": "10"})
    index = read_index(path)
    piece = Piece(path, index.pts[12], index.pts[19], index.pts[10], 1.2)
    target = tmp_path / "shot.mp4"
    target.write_bytes(cut_out(piece))
    assert cut_out(piece) == target.read_bytes(), "the same bytes again"
    assert len(read_index(target).pts) == 8
    with av.open(str(target)) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_range) == (1, 1), "BT.709, whatever the size has players guess"
    times_s = [n / 10 for n in range(8)]
    shown = read_frames(target, times_s).mean(axis=(1, 2, 3))
    assert np.allclose(shown, [8 * n for n in range(12, 20)], atol=2)
    sound = decode_audio(target)
    assert sound is not None
    assert 0.79 < sound.duration_s < 0.9
    assert np.abs(sound.samples[1000:12000]).max() > 0.5
    silent = write_video(tmp_path / "silent.mp4", seconds=1.0)
    pts = read_index(silent).pts
    target.write_bytes(cut_out(Piece(silent, pts[2], pts[5], pts[0])))
    assert decode_audio(target) is None


def test_a_last_picture_that_is_held_is_held_in_the_file_too(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    """Whoever records a screen talks on while it stands still."""
    path = tmp_path / "screen.mkv"
    moves = write_video(tmp_path / "moves.mkv", sound_s=3.0, options={"bf": "0"}, form="matroska")
    with av.open(str(moves)) as source, av.open(str(path), "w", format="matroska") as container:
        pictures, sound = (container.add_stream_from_template(stream) for stream in source.streams)
        for packet in source.demux():
            if packet.size:
                is_last = packet.stream.type == "video" and packet.pts == 900
                packet.stream = pictures if packet.stream.type == "video" else sound
                packet.duration = round(2.1 / packet.time_base) if is_last else packet.duration
                container.mux(packet)
    pts = read_index(path).pts
    target = tmp_path / "shot.mp4"
    piece = Piece(path, pts[5], pts[-1], pts[0], 0.5)
    target.write_bytes(cut_out(piece))
    assert read_index(target).duration_s == pytest.approx(2.5, abs=0.1)
    before, held, last = read_frames(target, [0.35, 0.45, 2.4]).astype(int).mean(axis=(1, 2, 3))
    assert before + 5 < held == pytest.approx(last, abs=1)
    for heard in (decode_audio(target), decode_audio(piece)):
        assert heard is not None
        assert heard.duration_s == pytest.approx(2.5, abs=0.1)
