"""What a file says about itself, and how a bad one says it."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from lafid_assets.ingest.media_probe import MediaFacts, content_sha256, probe, resolve
from lafid_assets.outcomes import ClipError, Reason


def _reason(call: Callable[[], object]) -> Reason:
    with pytest.raises(ClipError) as caught:
        call()
    assert caught.value.detail
    return caught.value.reason


def test_facts_of_a_video_with_sound(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=1.2, fps=10, sound_s=1.2)
    assert probe(path) == MediaFacts(10.0, 12, 64, 48, 1.0, None, None, 1.2, "h264", True)


def test_facts_of_a_silent_video(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    assert not probe(write_video(tmp_path / "a.mp4")).has_audio


def test_suffix_does_not_matter(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    path = write_video(tmp_path / "a.mp4").rename(tmp_path / "a")
    assert probe(path).frame_count == 10


def test_foreign_letters_in_the_metadata_do_no_harm(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    path = write_video(tmp_path / "a.mp4", title="caf\u00e9 XYZ")
    path.write_bytes(path.read_bytes().replace("caf\u00e9".encode(), b"caf\xe9\xe9"))
    assert probe(path).width == 64


def test_bad_files_have_their_reasons(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    whole = write_video(tmp_path / "whole.mp4").read_bytes()

    def file(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    assert _reason(lambda: probe(file("empty.mp4", b""))) == Reason.EMPTY_FILE
    assert _reason(lambda: probe(file("cut.mp4", whole[: len(whole) // 2]))) == Reason.UNREADABLE
    assert _reason(lambda: probe(file("text.mp4", b"not a video at all" * 99))) == Reason.UNREADABLE
    unknown = whole.replace(b"avc1", b"zzz1")
    assert unknown != whole
    assert _reason(lambda: probe(file("unknown.mp4", unknown))) == Reason.UNREADABLE


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
    assert _reason(lambda: probe(path)) == Reason.NO_VIDEO_STREAM


def test_paths_that_lead_out_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (root / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "folder").symlink_to(tmp_path)
    for path in (str(tmp_path / "secret.mp4"), "../secret.mp4", "a/../../secret.mp4", "link.mp4", "folder/secret.mp4"):
        assert _reason(lambda path=path: resolve(root, path)) == Reason.OUTSIDE_ROOT


def test_file_below_a_linked_folder_is_found_and_nothing_that_lies_beyond(tmp_path: Path) -> None:
    """The folder's owner made the link; who wrote the path, or laid a linked file there, gets no further by it."""
    root, disk = tmp_path / "root", tmp_path / "disk"
    for folder in (root, disk / "deep"):
        folder.mkdir(parents=True)
    (root / "linked").symlink_to(disk)
    for path in (disk / "deep" / "a.mp4", tmp_path / "secret.mp4"):
        path.write_bytes(b"video")
    (disk / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    (disk / "here.mp4").symlink_to("deep/a.mp4")
    (root / "there.mp4").symlink_to(disk / "deep" / "a.mp4")
    assert resolve(root, "linked/deep/a.mp4") == disk / "deep" / "a.mp4"
    assert resolve(root, "linked/here.mp4") == disk / "deep" / "a.mp4"
    assert resolve(root, "linked/none.mp4") is None
    for path in ("linked/out.mp4", "linked/../secret.mp4", "there.mp4"):
        assert _reason(lambda path=path: resolve(root, path)) == Reason.OUTSIDE_ROOT


@pytest.mark.parametrize("path", ["..\\secret.mp4", "a\\..\\..\\secret.mp4", "C:\\secret.mp4", "\\\\host\\share\\secret.mp4"])
def test_paths_of_windows_that_lead_out_are_refused(path: str, tmp_path: Path) -> None:
    assert _reason(lambda: resolve(tmp_path, path)) == Reason.OUTSIDE_ROOT


def test_backslash_in_a_name_is_no_way_out(tmp_path: Path) -> None:
    (tmp_path / "a\\b.mp4").write_bytes(b"video")
    assert resolve(tmp_path, "a\\b.mp4") == tmp_path / "a\\b.mp4"


def test_path_that_no_disk_can_hold_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    assert _reason(lambda: resolve(tmp_path, "a.mp4\0")) == Reason.NOT_A_FILE


def test_playlist_opens_nothing(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    """A list names further files, which may lie anywhere; a clip is one file."""
    write_video(tmp_path / "other.mp4")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    assert _reason(lambda: probe(tmp_path / "list.mp4")) == Reason.UNREADABLE


def test_cover_picture_is_no_video(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    path = write_video(tmp_path / "a.mp4", sound_s=1.0)
    with av.open(str(path)) as source, av.open(str(tmp_path / "cover.mp4"), "w") as container:
        sound = container.add_stream_from_template(source.streams.audio[0])
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = sound
                container.mux(packet)
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24").reformat(format="yuvj420p")
        container.mux(cover.encode(picture))
        container.mux(cover.encode(None))
    assert _reason(lambda: probe(tmp_path / "cover.mp4")) == Reason.NO_VIDEO_STREAM


def test_links_that_stay_inside_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real.mp4").write_bytes(b"video")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real.mp4")
    assert resolve(tmp_path, "link.mp4") == tmp_path / "real.mp4"


def test_root_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.mp4").write_bytes(b"video")
    (tmp_path / "root").symlink_to(tmp_path / "real")
    assert resolve(tmp_path / "root", "a.mp4") == tmp_path / "real" / "a.mp4"


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path in ("folder", "pipe", ""):
        assert _reason(lambda path=path: resolve(tmp_path, path)) == Reason.NOT_A_FILE


def test_missing_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    assert resolve(tmp_path, "nothing") is None
    assert resolve(tmp_path, "dangling") is None
    assert resolve(tmp_path, "x" * 300) is None


def test_hash_is_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(bytes(range(256)) * 5000)
    assert content_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
