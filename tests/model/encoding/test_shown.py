"""A decoded frame is turned, mirrored, stretched and coloured as a viewer sees it, on a clock that only rises."""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from numpy.typing import NDArray

from model.encoding.shown import RisingClock, ShownFrame, main_video, pixel_shape, shown_frames

MATRICES = {
    "as it is": ((1, 0, 0, 1), lambda x: x),
    "a quarter to the right": ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),
    "half a turn": ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
    "a quarter to the left": ((0, -1, 1, 0), np.rot90),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upside down": ((1, 0, 0, -1), np.flipud),
    "mirrored, then a quarter to the right": ((0, -1, -1, 0), lambda x: np.rot90(np.fliplr(x), -1)),
    "mirrored, then a quarter to the left": ((0, 1, 1, 0), lambda x: np.rot90(np.fliplr(x))),
    "nothing at all": ((0, 0, 0, 0), lambda x: x),
}


def _picture(height: int, width: int) -> NDArray[np.uint8]:
    """Dark, with a bright top left quarter and a greyish top right one: no turn or mirror leaves it alike."""
    picture = np.full((height, width, 3), 30, np.uint8)
    picture[: height // 2, : width // 2] = 220
    picture[: height // 2, width // 2 :] = 110
    return picture


def _shown(path: Path, picture: NDArray[np.uint8], layout: str = "yuv420p", **tags: Any) -> ShownFrame:
    """The frame of a film of one picture, encoded almost without loss; `matrix` turns it, other tags are the encoder's."""
    height, width = picture.shape[:2]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, layout
        if matrix := tags.pop("matrix", None):
            a, b, c, d = (part * 65536 for part in matrix)
            stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        colours = {"dst_colorspace": tags.get("colorspace", 5), "dst_color_range": tags.get("color_range", 1)}
        container.mux(stream.encode(frame.reformat(format=layout, **colours)))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        return next(shown_frames(container, container.streams.video[0]))


@pytest.mark.parametrize("name", MATRICES)
def test_it_is_turned_and_mirrored_as_the_display_matrix_says(tmp_path: Path, name: str) -> None:
    matrix, done_by_hand = MATRICES[name]
    frame = _shown(tmp_path / "a.mp4", _picture(32, 64), matrix=matrix)
    expected = done_by_hand(_picture(32, 64))
    assert frame.rgb().shape == expected.shape
    assert frame.size_px == expected.shape[1::-1]
    assert np.abs(frame.rgb().astype(int) - expected).mean() < 4
    assert frame.rgb().flags.c_contiguous


@pytest.mark.parametrize(
    ("stored", "shape", "size_px"), [((48, 32), 2, (64, 48)), ((32, 64), Fraction(2, 3), (64, 48)), ((48, 64), 100, (64, 48))]
)
def test_pixels_come_out_square_and_none_is_lost(tmp_path: Path, stored: tuple[int, int], shape: float, size_px: Any) -> None:
    frame = _shown(tmp_path / "a.mp4", _picture(*stored), sample_aspect_ratio=Fraction(shape))
    assert frame.size_px == size_px
    assert np.abs(frame.rgb().astype(int) - _picture(*size_px[::-1])).mean() < 4
    assert frame.rgb(16).shape == (12, 16, 3)


def test_wide_pixels_of_a_turned_picture_make_it_higher(tmp_path: Path) -> None:
    frame = _shown(tmp_path / "a.mp4", _picture(48, 32), sample_aspect_ratio=Fraction(2), matrix=(0, 1, -1, 0))
    assert frame.size_px == (48, 64)
    assert frame.rgb().shape == (64, 48, 3)


@pytest.mark.parametrize(("told", "believed"), [(None, 1.0), (Fraction(64, 45), 64 / 45), (Fraction(1, 9), 1.0)])
def test_a_shape_of_pixels_that_no_footage_has_is_not_believed(told: Fraction | None, believed: float) -> None:
    stream: Any = type("Stream", (), {"sample_aspect_ratio": told})
    assert pixel_shape(stream) == believed


SKIN = (205, 130, 100)


@pytest.mark.parametrize(
    ("tags", "size"),
    [
        ({}, (64, 48)),
        ({"color_range": 2}, (64, 48)),
        ({"colorspace": 1}, (64, 48)),
        ({"colorspace": 1, "color_range": 2}, (64, 48)),
        ({"colorspace": 9}, (64, 48)),
    ],
)
def test_colours_are_those_that_were_filmed_whatever_range_and_matrix_they_were_stored_in(
    tmp_path: Path, tags: dict[str, int], size: tuple[int, int]
) -> None:
    frame = _shown(tmp_path / "a.mp4", np.full((*size[::-1], 3), SKIN, np.uint8), **tags)
    assert frame.rgb().mean(axis=(0, 1)) == pytest.approx(SKIN, abs=3)


@pytest.mark.parametrize(("size", "told", "untold"), [((1280, 720), 1, 5), ((720, 1280), 1, 5), ((576, 1024), 5, 1)])
def test_untagged_colours_are_taken_as_players_take_them(size: tuple[int, int], told: int, untold: int) -> None:
    """Of BT.709 in HD, held upright or not, and of BT.601 below."""
    leaf = (60, 180, 40)
    picture = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), leaf, np.uint8), format="rgb24")
    shown = {}
    for matrix in (told, untold):
        frame = picture.reformat(format="yuv420p", dst_colorspace=matrix)
        frame.colorspace = 2
        shown[matrix] = ShownFrame(0, 0, Fraction(1), frame, 1.0).rgb(32).mean(axis=(0, 1))
    assert shown[told] == pytest.approx(leaf, abs=3)
    assert np.abs(shown[untold] - leaf).max() > 6


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_mapped_at_any_size(tmp_path: Path, transfer: int) -> None:
    tags = {"color_trc": transfer, "color_primaries": 9, "colorspace": 9}
    frame = _shown(tmp_path / "a.mp4", np.full((48, 64, 3), 120, np.uint8), "yuv420p10le", **tags)
    assert np.abs(frame.rgb().astype(int) - 120).min() > 4
    assert frame.rgb().mean() == pytest.approx(frame.rgb(16).mean(), abs=1)


@pytest.mark.parametrize(
    ("codec", "layout", "form"), [("libx265", "yuv420p10le", "matroska"), ("prores_ks", "yuv422p10le", "mov")]
)
def test_colours_that_only_the_container_tells_are_believed(tmp_path: Path, codec: str, layout: str, form: str) -> None:
    """Decoders of HEVC and ProRes forget them with the first picture."""
    tags = {"color_trc": 16, "color_primaries": 9, "colorspace": 9}
    picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), (30_000, 24_000, 20_000), np.uint16), format="rgb48le")
    picture = picture.reformat(format=layout, dst_colorspace=9)
    expected = ShownFrame(0, 0, Fraction(1), _tagged(picture, **tags), 1.0).rgb()
    buffer, path = io.BytesIO(), tmp_path / "film"
    with av.open(buffer, "w", format=form) as container:
        quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream: Any = container.add_stream(codec, rate=10, options=quiet)
        stream.width, stream.height, stream.pix_fmt = 64, 48, layout
        untagged = _tagged(picture, **dict.fromkeys(tags, 2))
        container.mux([*stream.encode(untagged), *stream.encode(None)])
    buffer.seek(0)
    with av.open(buffer) as source, av.open(str(path), "w", format=form) as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        _tagged(stream.codec_context, **tags)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    with av.open(str(path)) as container:
        for _ in ("from its beginning", "again, after a seek"):
            frame = next(shown_frames(container, container.streams.video[0]))
            assert np.abs(frame.rgb().astype(int) - expected).max() <= 3
            container.seek(0)


def _tagged(target: Any, **tags: int) -> Any:
    for name, tag in tags.items():
        setattr(target, name, tag)
    return target


def _moving(number: int, width: int = 64, height: int = 48) -> av.VideoFrame:
    """A soft spot on its way to the right, which an encoder makes B-frames of."""
    x, y = np.arange(width)[None] - 10 - 0.7 * number, np.arange(height)[:, None] - 24
    spot = (40 + 180 * np.exp(-(x**2 + y**2) / 120)).astype(np.uint8)
    return av.VideoFrame.from_ndarray(np.repeat(spot[..., None], 3, axis=2), format="rgb24")


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_the_shape_of_pixels_changes_where_television_changes_it(tmp_path: Path, codec: str) -> None:
    """From 4:3 to 16:9 between two programmes; the decoder knows before it has handed out the last pictures of the first one."""
    path = tmp_path / "two_programmes.ts"
    with path.open("wb") as film:
        for number, shape in enumerate((Fraction(1), Fraction(4, 3))):
            programme = io.BytesIO()
            with av.open(programme, "w", format="mpegts", options={"mpegts_copyts": "1"}) as container:
                stream: Any = container.add_stream(codec, rate=25, options={"g": "250"})
                stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
                stream.codec_context.sample_aspect_ratio, stream.codec_context.max_b_frames = shape, 2
                for place in range(25 * number, 25 * number + 25):
                    frame = _moving(place)
                    frame.pts, frame.time_base = place, Fraction(1, 25)
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
            film.write(programme.getvalue())
    with av.open(str(path)) as container:
        sizes = [shown.size_px for shown in shown_frames(container, container.streams.video[0])]
    assert sizes == [(64, 48)] * 25 + [(85, 48)] * 25


@pytest.mark.parametrize(("codec", "options"), [("libx264", {"g": "12"}), ("libx264", {"bf": "0"}), ("mpeg4", {})])
def test_pictures_in_avi_are_shown_in_order(tmp_path: Path, codec: str, options: dict[str, str]) -> None:
    """It does not say when; of H.264's B-frames FFmpeg cannot tell it either."""
    path = tmp_path / "film.avi"
    with av.open(str(path), "w", format="avi") as container:
        stream: Any = container.add_stream(codec, rate=5, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux([packet for number in range(30) for packet in stream.encode(_moving(number))])
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        stamps = [shown.pts for shown in shown_frames(container, container.streams.video[0])]
        container.seek(stamps[12], stream=container.streams.video[0])
        again = [shown.pts for shown in shown_frames(container, container.streams.video[0])]
    assert stamps == list(range(stamps[0], stamps[0] + 30))
    assert again == stamps[-len(again) :]


class _Container:
    def __init__(self, flags: int) -> None:
        self.format = type("Format", (), {"flags": flags})


class _Stream:
    time_base, average_rate = Fraction(1, 10), 5


def _risen(stamps: Sequence[int | tuple[int, int | None]], flags: int = 0) -> tuple[list[int], int]:
    clock = RisingClock(_Container(flags), _Stream())  # type: ignore[arg-type]
    return [clock.rise(*((stamp, stamp) if isinstance(stamp, int) else stamp)) for stamp in stamps], clock.runs


def test_timestamps_that_begin_anew_go_on_where_the_last_ones_ended() -> None:
    assert _risen([14, 16, 18, 20, 22, 14, 16, 3, 5]) == ([14, 16, 18, 20, 22, 24, 26, 28, 30], 3)


def test_small_steps_back_are_no_new_piece() -> None:
    assert _risen([14, 16, 15, 18]) == ([14, 16, 15, 18], 1)


def test_a_leap_forward_is_a_new_piece_where_the_container_s_clock_may_break_off() -> None:
    assert _risen([0, 2, 1002, 1004], flags=0x200) == ([0, 2, 4, 6], 2)
    assert _risen([0, 2, 1002, 1004]) == ([0, 2, 1002, 1004], 1)


def test_packets_out_of_order_are_no_new_piece() -> None:
    """B frames: the timestamps of showing go to and fro, by more than a muxer's rounding, those of decoding do not."""
    packets = [(4, 0), (20, 2), (12, 4), (28, 6), (4, 0), (20, 2), (12, 4)]
    assert _risen(packets) == ([4, 20, 12, 28, 30, 46, 38], 2)


def test_packets_without_a_decoding_timestamp_are_no_new_piece() -> None:
    """Matroska's first ones; the first that has one lies far before them."""
    packets: list[tuple[int, int | None]] = [(0, None), (40, None), (20, 0), (10, 10), (30, 20), (0, 0)]
    assert _risen(packets) == ([0, 40, 20, 10, 30, 42], 2)


@pytest.mark.parametrize(
    ("streams", "shown"),
    [
        ([(64, 48, False)], 0),
        ([(600, 600, True), (64, 48, False)], 1),
        ([(32, 24, False), (64, 48, False), (64, 48, False)], 1),
        ([(600, 600, True)], 0),
    ],
)
def test_a_player_shows_the_largest_film_and_no_cover(streams: list[tuple[int, int, bool]], shown: int) -> None:
    videos = [
        SimpleNamespace(
            disposition=Disposition.attached_pic if is_cover else Disposition.default,
            codec_context=SimpleNamespace(width=width, height=height),
        )
        for width, height, is_cover in streams
    ]
    container: Any = SimpleNamespace(streams=SimpleNamespace(video=videos))
    assert main_video(container) is videos[shown]
