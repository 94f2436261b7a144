"""A shot leaves as a file of its own."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

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
