"""The fixed mix of `benchmarks.face_info`: 100 clips of 3 to 6 s in the shares in which raw footage comes.

Every clip is cut from the test clips beside the project and encoded anew, the same bytes every time on one version of the
encoder. What is smaller than 720 px is enlarged to it; what a category calls for is composed (two persons side by side, a small
face in a large empty room, a picture that stands still).

Belongs here: which clips there are, and making them. Not here: measuring anything.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace
from numpy.typing import NDArray
from PIL import Image

from model.files import whole_file

LEAST_HEIGHT_PX = 720
VERSION = 2
"""Raised with every change in how a clip is made."""
_ENCODER = {"preset": "veryfast", "crf": "23", "threads": "1", "x264-params": "mbtree=0:cpu-independent=1"}

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class MixClip:
    """One clip: `parts` are test clips (two of them stand side by side; of `small` the second is the room).

    Attributes:
        start_s, length_s: what is cut from every part.
        share: height of the first part / height of the room, where it is small.
    """

    name: str
    category: str
    parts: tuple[str, ...]
    start_s: float
    length_s: float
    share: float | None = None


_FRONTAL = (
    *(("liveportrait_d13.mp4", start) for start in (0.0, 4.0, 7.5)),
    *(("liveportrait_src_s18.mp4", start) for start in (0.0, 3.0, 6.0)),
    *(("liveportrait_src_s32.mp4", start) for start in (0.0, 2.5)),
    *(("liveportrait_d6.mp4", start) for start in (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)),
    *(("liveportrait_d10.mp4", start) for start in (0.0, 4.0, 8.0, 11.0)),
    *(("liveportrait_d14.mp4", start) for start in (0.0, 4.5, 9.0, 13.0)),
    *(("liveportrait_d18.mp4", start) for start in (0.0, 2.0, 3.5)),
    *(("liveportrait_d19.mp4", start) for start in (0.0, 2.5, 5.0)),
    *(("liveportrait_d20.mp4", start) for start in (0.0, 2.0, 3.5)),
    *(("liveportrait_src_s20.mp4", start) for start in (0.0, 3.0, 6.0)),
    *(("intel_head-pose-face-detection-male.gif", start) for start in (0.0, 1.5)),
    *(("liveportrait_d9.mp4", start) for start in (0.0, 8.0)),
)
_CROWDS = (
    *(("yakhyo_gaze_in_video.mp4", start) for start in (0.0, 4.0, 8.0)),
    ("intel_face-demographics-walking-and-pause.gif", 0.0),
    ("intel_head-pose-face-detection-female-and-male.gif", 0.0),
)
_PAIRED = ("liveportrait_d6.mp4", "liveportrait_d10.mp4", "liveportrait_d14.mp4", "liveportrait_d9.mp4", "liveportrait_d19.mp4",
           "liveportrait_d18.mp4", "liveportrait_d20.mp4")  # fmt: skip
_ROOM = "intel_bottle-detection.mp4"
_SMALL = ("liveportrait_d6.mp4", "liveportrait_d9.mp4", "liveportrait_d10.mp4", "liveportrait_d12.mp4", "liveportrait_d14.mp4")
_STILL = ("liveportrait_d0.mp4", "liveportrait_d3.mp4", "liveportrait_d11.mp4", "liveportrait_d13.mp4",
          "liveportrait_src_s18.mp4", "liveportrait_src_s29.mp4", "liveportrait_src_s32.mp4", "intel_gaze_demo.mp4",
          "yakhyo_gaze_in_video.mp4", "pyfeat_WolfgangLanger_Pexels.mp4")  # fmt: skip
_EMPTY = (
    *((_ROOM, start) for start in (0.0, 6.0, 12.0, 18.0, 24.0, 30.0)),
    ("pyfeat_no_face.mp4", 0.0),
    *(("intel_one-by-one-person-detection.mp4", start) for start in (0.0, 6.0, 12.0)),
)


def plan_mix() -> list[MixClip]:
    """The 100 clips: 2 that the policy keeps, 38 frontal, 25 with several faces, 15 small, 10 still, 10 empty."""
    clips = [MixClip(f"kept_{n}", "kept", ("intel_gaze_demo.mp4",), start, 6.0) for n, start in enumerate((0.0, 12.0))]
    clips += [MixClip(f"frontal_{n}", "frontal", (name,), start, _length(n)) for n, (name, start) in enumerate(_FRONTAL)]
    clips += [MixClip(f"several_{n}", "several", (name,), start, 4.0) for n, (name, start) in enumerate(_CROWDS)]
    pairs = list(combinations(_PAIRED, 2))[:20]
    clips += [MixClip(f"several_{n}", "several", pair, 0.5, _length(n)) for n, pair in enumerate(pairs, len(_CROWDS))]
    clips += [
        MixClip(f"small_{n}", "small", (_SMALL[n % len(_SMALL)], _ROOM), 1.0 + n // len(_SMALL), _length(n), 0.10 + 0.005 * n)
        for n in range(15)
    ]
    clips += [MixClip(f"still_{n}", "still", (name,), 1.0, _length(n)) for n, name in enumerate(_STILL)]
    clips += [MixClip(f"empty_{n}", "empty", (name,), start, _length(n)) for n, (name, start) in enumerate(_EMPTY)]
    return clips


def stratified(clips: list[MixClip], count: int) -> list[MixClip]:
    """About `count` of the clips, evenly out of every category, at least one of each."""
    chosen = []
    for category in dict.fromkeys(clip.category for clip in clips):
        own = [clip for clip in clips if clip.category == category]
        wanted = max(1, round(count * len(own) / len(clips)))
        chosen += [own[int((n + 0.5) * len(own) / wanted)] for n in range(wanted)]
    return chosen


def build_mix(folder: Path, sources: Path, clips: list[MixClip]) -> dict[str, Path]:
    """Clip name to file, made where they are not there yet.

    Raises:
        FileNotFoundError: the test clips are not there.
    """
    if not sources.is_dir():
        raise FileNotFoundError("the test clips are missing: this benchmark needs ../shared/testdata beside the project")
    folder.mkdir(parents=True, exist_ok=True)
    files = {clip.name: folder / f"{clip.name}-{_recipe(clip)}.mp4" for clip in clips}
    for clip in clips:
        if not files[clip.name].is_file():
            with whole_file(files[clip.name]) as temporary:
                _encode(temporary, clip, sources)
    return files


def _recipe(clip: MixClip) -> str:
    """Hash of all that decides the file's bytes: another recipe, another file."""
    facts = json.dumps([VERSION, _ENCODER, av.library_versions, asdict(clip)], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def _length(number: int) -> float:
    return (3.0, 4.0, 5.0, 6.0)[number % 4]


def _encode(path: Path, clip: MixClip, sources: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = None
        rate = _rate(sources / clip.parts[0])
        for number, picture in enumerate(_pictures(clip, sources, rate)):
            if stream is None:
                stream = container.add_stream("libx264", rate=rate, options=_ENCODER)
                stream.height, stream.width, stream.pix_fmt = picture.shape[0], picture.shape[1], "yuv420p"
                # OpenCV, which the script reads with, takes every file for BT.601; ours believes what a file says.
                stream.codec_context.colorspace = Colorspace.ITU601
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        assert stream is not None, f"{clip.name}: nothing was decoded"
        container.mux(stream.encode(None))


def _pictures(clip: MixClip, sources: Path, rate: Fraction) -> Iterator[Picture]:
    count = round(clip.length_s * rate)
    parts = [_cut(sources / part, clip.start_s, count) for part in clip.parts]
    if clip.category == "still":
        [still] = parts
        yield from [_even(_at_least_720(next(still)))] * count
    elif clip.category == "small":
        assert clip.share is not None
        for person, room in zip(*parts, strict=False):
            yield _even(_placed(person, _at_least_720(room), clip.share))
    else:
        for shown in zip(*parts, strict=False):
            yield _even(np.concatenate([_at_least_720(picture) for picture in shown], axis=1))


def _cut(path: Path, start_s: float, count: int) -> Iterator[Picture]:
    """`count` pictures from `start_s` on, or as many as there are."""
    with av.open(str(path)) as container:
        first: float | None = None
        for frame in container.decode(video=0):
            first = frame.time if first is None else first
            if frame.time - first < start_s - 1e-6:
                continue
            yield np.asarray(frame.to_ndarray(format="rgb24"))
            count -= 1
            if not count:
                return


def _at_least_720(picture: Picture) -> Picture:
    scale = max(1.0, LEAST_HEIGHT_PX / picture.shape[0])
    return _resized(picture, scale)


def _placed(person: Picture, room: Picture, share: float) -> Picture:
    """The person's picture in the lower middle of the room, its height `share` / 0.6 of the room's (faces fill 0.6 of it)."""
    small = _resized(person, share / 0.6 * room.shape[0] / person.shape[0])
    height, width = small.shape[:2]
    top, left = room.shape[0] // 2, room.shape[1] // 3
    filled = room.copy()
    filled[top : top + height, left : left + width] = small
    return filled


def _resized(picture: Picture, scale: float) -> Picture:
    if scale == 1.0:
        return picture
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def _even(picture: Picture) -> Picture:
    return picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]


def _rate(path: Path) -> Fraction:
    with av.open(str(path)) as container:
        return Fraction(container.streams.video[0].average_rate or 25).limit_denominator(1000)
