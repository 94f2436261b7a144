"""A plugin of the tests: broken and odd media of every kind that we have met, each with the way in which it must end.

Everything is made here, byte by byte where no encoder would write it; nothing is copied from anywhere.
"""

import os
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

Ending = tuple[str, str | None]
OK: Ending = ("ok", None)
CUT: Ending = ("error", "decode_failed")
FREE_BOX = struct.pack(">I4s", 8, b"free")


@dataclass(frozen=True)
class Exhibit:
    """One file, or one path that a table could name.

    Attributes:
        path: relative to the zoo's root, as a table gives it.
        probed: how it must end `raw_clips`.
        analysed: how it may end `face_info`, where it gets there; a decoder may survive some damage or give up.
        said: what must be said of it: columns of `clips`, and of `face_frames` the size of a picture as shown (`size_px`), how
            many there are (`sampled`, 4 a second), when the last one comes (`last_s`) and how bright the first is (`luminance`).
    """

    path: str
    probed: Ending
    analysed: frozenset[Ending] = frozenset({OK})
    said: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Zoo:
    """The clip root and what is in it, by kind."""

    root: Path
    exhibits: dict[str, Exhibit]


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory, write_video: Callable[..., Path]) -> Zoo:
    outside = tmp_path_factory.mktemp("outside")
    root = tmp_path_factory.mktemp("zoo")
    write_video(outside / "secret.mp4")
    whole = write_video(root / "whole.mp4", seconds=2, container_options={"movflags": "faststart"}, options={"g": "10"})
    exhibits = {"whole": Exhibit("whole.mp4", OK)}
    for make in (_sound_videos, _odd_videos, _for_viewers, _of_odd_times, _damaged, _no_videos, _no_files, _paths):
        exhibits |= make(root, outside, whole, write_video)
    return Zoo(root, exhibits)


def _sound_videos(root: Path, outside: Path, whole: Path, write: Callable[..., Path]) -> dict[str, Exhibit]:
    """Unusual and whole: they must pass."""
    write(root / "video_only.mp4", seconds=1.2)
    write(root / "with_sound.mp4", sound_s=1.0)
    write(root / "late.mkv", pts_ms=[500 + 100 * n for n in range(10)], form="matroska")
    write(root / "early.mp4", pts_ms=[100 * n - 300 for n in range(10)])
    write(root / "variable_rate.mp4", pts_ms=[0, 40, 80, 400, 410, 900, 950, 1400])
    write(root / "b_frames.mp4", seconds=2, options={"preset": "medium", "bf": "3", "x264-params": "b-adapt=0:scenecut=0"})
    write(root / "one_frame.mp4", pts_ms=[0])
    write(root / "matroska_inside.mp4", form="matroska")
    # Equal contents would be one clip: each has a box of its own at its end.
    (root / "no_suffix").write_bytes(whole.read_bytes() + FREE_BOX)
    (root / "inner").mkdir()
    (root / "inner" / "file").write_bytes(whole.read_bytes() + 2 * FREE_BOX)
    (root / "inner_link.mp4").symlink_to(root / "inner" / "file")
    names = ("video_only.mp4", "with_sound.mp4", "late.mkv", "early.mp4", "variable_rate.mp4", "b_frames.mp4", "one_frame.mp4")
    return {Path(name).stem: Exhibit(name, OK) for name in (*names, "matroska_inside.mp4", "no_suffix", "inner_link.mp4")}


def _odd_videos(root: Path, outside: Path, whole: Path, write: Callable[..., Path]) -> dict[str, Exhibit]:
    """Layouts that few clips have."""
    _encode(root / "odd_size.mp4", "libx264", "yuv444p", width=63, height=47)
    _encode(root / "ten_bit.mp4", "libx264", "yuv420p10le")
    _encode(root / "grey.mp4", "libx264", "gray")
    _encode(root / "old_codec.avi", "mpeg4", "yuv420p", form="avi")
    _encode(root / "endless.gif", "gif", "rgb8", form="gif", container_options={"loop": "0"})
    turned = bytearray(whole.read_bytes())
    at = turned.index(b"tkhd") + 4 + 40  # the 3 x 3 matrix of the track header
    turned[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    (root / "turned.mp4").write_bytes(turned)
    avi = bytearray((root / "old_codec.avi").read_bytes())
    for box, place in ((b"avih", 8), (b"strh", 8 + 20), (b"strh", 8 + 24)):  # microseconds a frame, time scale, rate
        at = avi.index(box) + place
        avi[at : at + 4] = bytes(4)
    (root / "zero_fps.avi").write_bytes(avi)
    names = ("odd_size.mp4", "ten_bit.mp4", "grey.mp4", "old_codec.avi", "endless.gif", "turned.mp4", "zero_fps.avi")
    return {Path(name).stem: Exhibit(name, OK) for name in names}


def _for_viewers(root: Path, outside: Path, whole: Path, write: Callable[..., Path]) -> dict[str, Exhibit]:
    """What players show otherwise than it is stored."""
    _encode(root / "wide_pixels.mp4", "libx264", "yuv420p", width=32, tags={"sample_aspect_ratio": Fraction(2)})
    _encode(root / "tall_pixels.mp4", "libx264", "yuv420p", height=32, tags={"sample_aspect_ratio": Fraction(2, 3)})
    _encode(root / "mirrored.mp4", "libx264", "yuv420p", tags={"display_matrix": (-1, 0, 0, 1)})
    # Light of SDR grey 120 on a reference white of 203 nits, by the formulas of ITU-R BT.2100.
    wide = {"color_primaries": 9, "colorspace": 9, "color_range": 1}
    grey = np.full((48, 64, 3), 1, np.uint16)
    _encode(root / "hdr_pq.mp4", "libx264", "yuv420p10le", picture=round(0.4161 * 65535) * grey, tags=wide | {"color_trc": 16})
    _encode(root / "hdr_hlg.mp4", "libx264", "yuv420p10le", picture=round(0.4466 * 65535) * grey, tags=wide | {"color_trc": 18})
    _with_a_preview_before_it(whole, root / "preview_first.mp4")
    full = {"color_range": 2}
    _encode(root / "full_range.mp4", "libx264", "yuv420p", picture=np.full((48, 64, 3), 120, np.uint8), tags=full)
    return {
        "wide_pixels": Exhibit("wide_pixels.mp4", OK, said={"width": 32, "pixel_shape": 2.0, "size_px": (64, 48)}),
        "tall_pixels": Exhibit("tall_pixels.mp4", OK, said={"height": 32, "pixel_shape": 2 / 3, "size_px": (64, 48)}),
        "mirrored": Exhibit("mirrored.mp4", OK, said={"pixel_shape": 1.0, "size_px": (64, 48)}),
        "hdr_pq": Exhibit("hdr_pq.mp4", OK, said={"transfer": "smpte2084", "primaries": "bt2020", "luminance": 120}),
        "hdr_hlg": Exhibit("hdr_hlg.mp4", OK, said={"transfer": "arib_std_b67", "primaries": "bt2020", "luminance": 120}),
        "preview_first": Exhibit(
            "preview_first.mp4", OK, said={"width": 64, "duration_s": 2.0, "sampled": 8, "size_px": (64, 48)}
        ),
        "full_range": Exhibit("full_range.mp4", OK, said={"transfer": None, "primaries": None, "luminance": 120}),
    }


def _of_odd_times(root: Path, outside: Path, whole: Path, write: Callable[..., Path]) -> dict[str, Exhibit]:
    """Clocks that do not run evenly from the first frame to the last."""
    pieces = [write(root / f"piece_{seconds}.ts", seconds=seconds, form="mpegts") for seconds in (1, 2)]
    (root / "restart.ts").write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    for piece in pieces:
        piece.unlink()
    write(root / "long_sound.mkv", seconds=1.5, sound_s=4.0, form="matroska")
    write(root / "long_sound.mp4", seconds=1.5, sound_s=4.0)
    write(root / "slow_film.mp4", pts_ms=[1000 * n for n in range(6)], fps=1)
    no_decoder = write(root / "undecodable_track.mp4", sound_s=1.1).read_bytes()
    assert no_decoder.count(b"mp4a") == 1
    (root / "undecodable_track.mp4").write_bytes(no_decoder.replace(b"mp4a", b"zzzz"))
    gif = write(root / "foreign_tags.mp4", title="caf\u00e9 XYZ", seconds=1.3).read_bytes()
    (root / "foreign_tags.mp4").write_bytes(gif.replace("caf\u00e9".encode(), b"caf\xe9\xe9"))
    _with_opposite_channels(whole, root / "anti_phase.mkv")
    pictures_end = {"duration_s": 1.5, "has_audio": True, "sampled": 6}
    return {
        "restart": Exhibit("restart.ts", OK, frozenset({("skipped", "split")}), said={"duration_s": 3.0}),
        "anti_phase": Exhibit("anti_phase.mkv", OK, said={"has_audio": True, "sampled": 8}),
        "sound_goes_on": Exhibit("long_sound.mkv", OK, said=pictures_end),
        "sound_goes_on_in_mp4": Exhibit("long_sound.mp4", OK, said=pictures_end),
        "slow_film": Exhibit("slow_film.mp4", OK, said={"duration_s": 6.0, "sampled": 6, "last_s": 5.0}),
        "undecodable_track": Exhibit("undecodable_track.mp4", OK, said={"duration_s": 1.0, "has_audio": True, "sampled": 4}),
        "foreign_tags": Exhibit("foreign_tags.mp4", OK, said={"duration_s": 1.3}),
    }


def _damaged(root: Path, outside: Path, whole: Path, write: Callable[..., Path]) -> dict[str, Exhibit]:
    """Videos that something happened to."""
    content = whole.read_bytes()
    body = content.index(b"mdat") + 4
    (root / "cut_in_the_middle.mp4").write_bytes(content[: body + (len(content) - body) // 3])
    (root / "cut_in_the_header.mp4").write_bytes(content[: content.index(b"stbl")])
    (root / "first_bytes_only.mp4").write_bytes(content[:20])
    late_header = write(root / "late_header.mp4", seconds=2).read_bytes()
    (root / "no_moov.mp4").write_bytes(late_header[: late_header.index(b"moov") - 4])
    flipped = bytearray(content)
    for at in np.random.default_rng(0).integers(body + (len(content) - body) // 2, len(content), 40):
        flipped[at] ^= 0xFF
    (root / "flipped.mp4").write_bytes(flipped)
    (root / "zeroed.mp4").write_bytes(content[:body] + bytes(len(content) - body))
    (root / "unknown_codec.mp4").write_bytes(content.replace(b"avc1", b"zzz1"))
    matroska = write(root / "for_cutting.mkv", seconds=2, form="matroska").read_bytes()
    (root / "cut.mkv").write_bytes(matroska[: len(matroska) // 2])
    at = matroska.index(b"\x44\x89\x88") + 3  # the duration, a double in ms
    (root / "claims_years.mkv").write_bytes(matroska[:at] + struct.pack(">d", 1e12) + matroska[at + 8 :])
    return {
        "cut_in_the_middle": Exhibit("cut_in_the_middle.mp4", OK, frozenset({CUT})),
        "cut_in_the_header": Exhibit("cut_in_the_header.mp4", ("error", "unreadable")),
        "first_bytes_only": Exhibit("first_bytes_only.mp4", ("error", "unreadable")),
        "no_moov": Exhibit("no_moov.mp4", ("error", "unreadable")),
        "flipped_bytes": Exhibit("flipped.mp4", OK, frozenset({OK, CUT})),
        "zeroed_frames": Exhibit("zeroed.mp4", OK, frozenset({CUT})),
        "unknown_codec": Exhibit("unknown_codec.mp4", ("error", "unreadable")),
        "cut_matroska": Exhibit("cut.mkv", OK, frozenset({CUT})),
        "claims_years": Exhibit("claims_years.mkv", OK, frozenset({CUT})),
        "huge_picture": Exhibit(_huge_gif(root / "huge.gif", 30_000), ("error", "unreadable")),
        "large_picture": Exhibit(_huge_gif(root / "large.gif", 14_000), OK, frozenset({("error", "memory_limit")})),
    }


def _no_videos(root: Path, outside: Path, whole: Path, write: Callable[..., Path]) -> dict[str, Exhibit]:
    """Files, whole perhaps, but no clips."""
    (root / "empty.mp4").write_bytes(b"")
    (root / "text.mp4").write_text("not a video at all\n" * 50)
    (root / "zeros.mp4").write_bytes(bytes(1 << 16))
    (root / "noise.mp4").write_bytes(np.random.default_rng(1).bytes(1 << 16))
    (root / "page.mp4").write_text("<html><body>404</body></html>")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{outside}/secret.mp4\n#EXT-X-ENDLIST\n"
    (root / "playlist.m3u8").write_text(playlist)
    (root / "list.mp4").write_text("ffconcat version 1.0\nfile whole.mp4\n")
    _encode(root / "picture.mp4", "png", "rgb24", form="image2", frames=1)
    with av.open(str(root / "sound.wav"), "w") as container:
        _tone(container, "pcm_s16le", "s16")
    with av.open(str(root / "sound_only.mp4"), "w") as container:
        _tone(container, "aac", "fltp")
    unreadable = ("text.mp4", "zeros.mp4", "noise.mp4", "page.mp4", "playlist.m3u8", "list.mp4", "picture.mp4")
    return {
        "zero_byte": Exhibit("empty.mp4", ("error", "empty_file")),
        "sound_alone": Exhibit("sound.wav", ("error", "no_video_stream")),
        "sound_in_mp4": Exhibit("sound_only.mp4", ("error", "no_video_stream")),
        **{Path(name).stem: Exhibit(name, ("error", "unreadable")) for name in unreadable},
    }


def _no_files(root: Path, outside: Path, whole: Path, write: Callable[..., Path]) -> dict[str, Exhibit]:
    """Things on the disk that are no regular files below the root."""
    os.mkfifo(root / "pipe.mp4")
    (root / "folder.mp4").mkdir()
    plug = socket.socket(socket.AF_UNIX)
    here = os.open(root, os.O_RDONLY)
    plug.bind(f"/proc/self/fd/{here}/socket.mp4")  # the name of a socket may not be long
    os.close(here)
    plug.close()
    (root / "out.mp4").symlink_to(outside / "secret.mp4")
    (root / "device.mp4").symlink_to("/dev/zero")
    (root / "way_out").symlink_to(outside)
    (root / "nowhere.mp4").symlink_to(root / "nothing")
    (root / "circle.mp4").symlink_to(root / "circle.mp4")
    outside_root, no_file, missing = ("error", "outside_root"), ("error", "not_a_file"), ("skipped", "file_missing")
    return {
        "fifo": Exhibit("pipe.mp4", no_file),
        "folder": Exhibit("folder.mp4", no_file),
        "socket": Exhibit("socket.mp4", no_file),
        "link_out": Exhibit("out.mp4", outside_root),
        "link_to_device": Exhibit("device.mp4", outside_root),
        "in_linked_folder": Exhibit("way_out/secret.mp4", OK),  # whoever registers the folder has linked it
        "dangling_link": Exhibit("nowhere.mp4", missing),
        "link_to_itself": Exhibit("circle.mp4", missing),
        **_of_privileges(root, whole),
    }


def _of_privileges(root: Path, whole: Path) -> dict[str, Exhibit]:
    """What only root can make, and what only others cannot read."""
    if os.geteuid() == 0:
        os.mknod(root / "zero.mp4", 0o20644, os.makedev(1, 5))
        return {"device": Exhibit("zero.mp4", ("error", "not_a_file"))}
    (root / "forbidden.mp4").write_bytes(whole.read_bytes())
    (root / "forbidden.mp4").chmod(0)
    return {"forbidden": Exhibit("forbidden.mp4", ("error", "unreadable"))}


def _paths(root: Path, outside: Path, whole: Path, write: Callable[..., Path]) -> dict[str, Exhibit]:
    """Paths that a hostile table could name; none is looked for outside the root."""
    out: Ending = ("error", "outside_root")
    return {
        "absolute": Exhibit(str(outside / "secret.mp4"), out),
        "absolute_inside": Exhibit(str(whole), out),
        "dots": Exhibit(f"../{outside.name}/secret.mp4", out),
        "dots_behind": Exhibit(f"folder.mp4/../../{outside.name}/secret.mp4", out),
        "backslashes": Exhibit(f"..\\{outside.name}\\secret.mp4", out),
        "drive": Exhibit("C:\\Windows\\secret.mp4", out),
        "nul": Exhibit("whole.mp4\0.jpg", ("error", "not_a_file")),
        "nothing": Exhibit("", ("skipped", "file_missing")),
        "long_name": Exhibit("x" * 5000, ("skipped", "file_missing")),
        "long_path": Exhibit("x/" * 5000, ("skipped", "file_missing")),
        "protocol": Exhibit("http://127.0.0.1:9/whole.mp4", ("skipped", "file_missing")),
        "concat_protocol": Exhibit("concat:whole.mp4|whole.mp4", ("skipped", "file_missing")),
    }


def _encode(
    path: Path,
    codec: str,
    layout: str,
    *,
    width: int = 64,
    height: int = 48,
    frames: int = 10,
    form: str = "mp4",
    container_options: dict[str, str] | None = None,
    picture: NDArray[Any] | None = None,
    tags: Mapping[str, Any] | None = None,
) -> None:
    """Grey frames, ever brighter, or `picture` (H, W, 3) of 8 or 16 bits every time; `tags` are set on the encoder."""
    with av.open(str(path), "w", format=form, container_options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, layout
        stream.codec_context.time_base = Fraction(1, 10)
        for name, value in (tags or {}).items():
            if name == "display_matrix":
                a, b, c, d = (round(part * 65536) for part in value)
                stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
            else:
                setattr(stream.codec_context, name, value)
        for number in range(frames):
            pixels = np.full((height, width, 3), 20 * number % 256, np.uint8) if picture is None else picture
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24" if pixels.dtype == np.uint8 else "rgb48le")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            in_range = (tags or {}).get("color_range")
            container.mux(stream.encode(frame.reformat(format=layout, dst_color_range=in_range)))
        container.mux(stream.encode(None))


def _with_a_preview_before_it(film: Path, target: Path) -> None:
    """Another, smaller video stream of three frames as the first one."""
    with av.open(str(film)) as source, av.open(str(target), "w", format="mp4") as container:
        preview: Any = container.add_stream("libx264", rate=10)
        preview.width, preview.height, preview.pix_fmt = 32, 24, "yuv420p"
        copy = container.add_stream_from_template(source.streams.video[0])
        pictures = [av.VideoFrame.from_ndarray(np.full((24, 32, 3), 200, np.uint8), format="rgb24") for _ in range(3)]
        packets = [packet for picture in pictures for packet in preview.encode(picture)]
        container.mux([*packets, *preview.encode(None)])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                container.mux(packet)


def _with_opposite_channels(pictures: Path, path: Path) -> None:
    """The pictures of a file as they are, and a tone whose right channel is its left one upside down: mixed it is silence."""
    with av.open(str(pictures)) as source, av.open(str(path), "w", format="matroska") as container:
        video = container.add_stream_from_template(source.streams.video[0])
        sound = container.add_stream("pcm_s16le", rate=16_000, layout="stereo")
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                container.mux(packet)
        tone = (8000 * np.sin(np.arange(32_000) * 0.2)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.stack([tone, -tone], axis=1).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
        container.mux(sound.encode(frame))


def _tone(container: Any, codec: str, layout: str) -> None:
    stream = container.add_stream(codec, rate=16_000, layout="mono")
    for start in range(0, 16_000, 1024):
        silence = np.zeros((1, 1024), np.int16 if layout == "s16" else np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format=layout, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _huge_gif(path: Path, side_px: int) -> str:
    """A few bytes that ask for side x side pixels: one dot on a canvas of that size, twice."""
    head = b"GIF89a" + struct.pack("<HHBBB", side_px, side_px, 0x80, 0, 0) + bytes([0, 0, 0, 255, 255, 255])
    dot = b"\x21\xf9\x04\x00\x0a\x00\x00\x00" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    path.write_bytes(head + 2 * dot + b"\x3b")
    return path.name
