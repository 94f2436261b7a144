"""Real clips, one after the other in one long file, end as each does that is a file of its own.

All are first brought to one size, rate and encoding, since a file has one; then their packets are joined, so that the recording
shows the same pixels. Only the sound is encoded anew.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from lafid_assets.ingest.packets import open_clip
from lafid_assets.lake import open_lake
from lafid_assets.review.clip_facts import ClipTables, ending_of
from lafid_assets.schemas import DUPLICATE_CLIPS, LAFID_DATASET, PIECES, RAW_CLIPS
from lafid_assets.speech.audio import SAMPLE_RATE_HZ, decode_audio
from model.encoding.shown import shown_frames
from model.model_store.store import ModelStore
from resources.settings import Settings
from tests.demo_home import run_lafid

WIDTH, HEIGHT, RATE = 640, 480, 25
LONGEST_S = 45
SHOWN_ABOVE_THE_MIDDLE = 0.15
"""Of an upright clip the part that holds faces: so much of what is cut away is cut at the top."""
SAME_FOOTAGE = ("enc_rot90", "enc_hevc10", "derived_talking_face_silent")
"""Show another clip's pictures in another encoding: there is one of each kind."""
LIMIT_S = 7200

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(LIMIT_S)]


@dataclass(frozen=True)
class Shot:
    """What became of a clip, or of one shot of it.

    Attributes:
        start_s, duration_s: its place among all clips, one after the other.
        ended: step, status and reason; of duplicates as of what came through.
        person: who is shown, of what is in the dataset.
    """

    start_s: float
    duration_s: float
    ended: tuple[str, str, str | None]
    person: str | None


@pytest.mark.parametrize("engine", ["insightface", "dlib"])
def test_a_recording_of_clips_becomes_the_same_decisions(
    engine: str, testdata: Path, real_store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = make_films(sources(testdata), tmp_path / "clips")
    join(films, tmp_path / "recording" / "recording.mp4")
    starts = dict(zip((film.name for film in films), np.cumsum([0.0, *map(length_s, films)]), strict=False))
    clips = curated(tmp_path / "clips", tmp_path / "home of clips", engine, real_store, starts)
    shots = curated(tmp_path / "recording", tmp_path / "home of the recording", engine, real_store, {"recording.mp4": 0.0})
    told = compare(clips, shots, starts)
    print(f"{engine}: {starts[films[-1].name] + length_s(films[-1]):.0f} s, {len(films)} clips, {len(clips)} shots of them")
    assert not told, "\n".join(told)


def sources(testdata: Path) -> list[Path]:
    """Every real clip, in an order in which no two of one series meet."""
    found = [*(testdata / "clips").iterdir(), *(testdata.parent / "cases" / "media").iterdir()]
    wanted = sorted(path for path in found if path.is_file() and not path.name.startswith(SAME_FOOTAGE))
    chance = np.random.default_rng(0)
    return [wanted[place] for place in chance.permutation(len(wanted))]


def make_films(clips: Sequence[Path], folder: Path) -> list[Path]:
    """The clips in one size, rate and encoding, in turn."""
    folder.mkdir(parents=True)
    films = []
    for number, clip in enumerate(clips):
        films.append(folder / f"{number:02}_{clip.stem}.mp4")
        _write_film(films[-1], _pictures(clip), _sound(clip))
    return films


def _pictures(clip: Path) -> Iterator[NDArray[np.uint8]]:
    """As many a second as the film has: each is shown until the next one comes."""
    count = 0
    with open_clip(clip) as container:
        first: int | None = None
        for shown in shown_frames(container, container.streams.video[0]):
            first = shown.pts if first is None else first
            picture = _fitted(shown.rgb(2 * WIDTH))
            for _ in range(count, min(round(shown.time_since(first) * RATE) + 1, LONGEST_S * RATE)):
                count += 1
                yield picture
            if count == LONGEST_S * RATE:
                return


def _fitted(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = max(WIDTH / width, HEIGHT / height)
    size = max(WIDTH, round(width * scale)), max(HEIGHT, round(height * scale))
    wide = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    left, top = (size[0] - WIDTH) // 2, round((size[1] - HEIGHT) * SHOWN_ABOVE_THE_MIDDLE)
    return np.ascontiguousarray(wide[top : top + HEIGHT, left : left + WIDTH])


def _sound(clip: Path) -> NDArray[np.float32]:
    audio = decode_audio(clip)
    return np.zeros(0, np.float32) if audio is None else audio.samples


def _write_film(path: Path, pictures: Iterable[NDArray[np.uint8]], sound: NDArray[np.float32]) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "veryfast", "threads": "1"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        track = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        frames = 0
        for frames, picture in enumerate(pictures, 1):  # noqa: B007
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        _encode_sound(container, track, _as_long(sound, frames))


def _as_long(sound: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    samples = frames * SAMPLE_RATE_HZ // RATE
    return np.pad(sound[:samples], (0, max(0, samples - len(sound))))


def _encode_sound(container: av.container.OutputContainer, track: av.AudioStream, sound: NDArray[np.float32]) -> None:
    for start in range(0, len(sound), 1024):
        samples = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], format="fltp", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = SAMPLE_RATE_HZ, start, Fraction(1, SAMPLE_RATE_HZ)
        container.mux(track.encode(samples))
    container.mux(track.encode(None))


def length_s(film: Path) -> float:
    with av.open(str(film)) as container:
        return container.streams.video[0].frames / RATE


def join(films: Sequence[Path], path: Path) -> None:
    """One film after the other: the same packets of pictures, and the sound anew."""
    path.parent.mkdir(parents=True)
    with av.open(str(films[0])) as first, av.open(str(path), "w") as container:
        video = container.add_stream_from_template(first.streams.video[0])
        track = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        before, sounds = 0, []
        for film in films:
            with av.open(str(film)) as source:
                stream = source.streams.video[0]
                ticks = round(before / RATE / stream.time_base)
                for packet in source.demux(stream):
                    if packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + ticks, packet.dts + ticks, video
                        container.mux(packet)
                before += stream.frames
                audio = decode_audio(film)
                sounds.append(_as_long(np.zeros(0, np.float32) if audio is None else audio.samples, stream.frames))
        _encode_sound(container, track, np.concatenate(sounds))


def curated(folder: Path, home: Path, engine: str, models: ModelStore, starts: dict[str, float]) -> list[Shot]:
    """What `lafid curate` made of the folder, in order of time.

    Args:
        starts: file to its place in time among all.
    """
    home.mkdir()
    (home / "models").symlink_to(models.root)
    done = run_lafid(home, "curate", str(folder), "--engine", engine, timeout_s=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    lake = open_lake(Settings(home=home, store_uri=str(home / "store")), read_only=True)
    try:
        with lake.snapshot() as reader:
            clips, pieces, dataset = (reader.read(table.name) for table in (RAW_CLIPS, PIECES, LAFID_DATASET))
            split = set(pieces["recording_id"])
            persons = dict(dataset.select("clip_id", "identity_id").iter_rows())
            shots = []
            for row in clips.filter(~pl.col("clip_id").is_in(split)).iter_rows(named=True):
                ending = ending_of(ClipTables(reader, row["clip_id"], row["shard"]).outcomes())
                through = ending.step in (DUPLICATE_CLIPS.name, LAFID_DATASET.name)
                ended = ("", "kept", None) if through else (ending.step, ending.status, ending.row.get("reason"))
                start_s = starts[Path(row["path"]).name] + (row["start_s"] or 0.0)
                shots.append(Shot(start_s, row["duration_s"], ended, persons.get(row["clip_id"])))
    finally:
        lake.close()
    return sorted(shots, key=lambda shot: shot.start_s)


def _as_searched(clips: Sequence[Shot], shots: Sequence[Shot]) -> list[Shot]:
    """The shots, but for those of a clip that the scan drops: nobody looks for cuts in that clip, and in a recording everywhere.
    The clip stands for them where they are dropped, too."""
    searched = list(shots)
    for clip in clips:
        frames = range(round(clip.start_s * RATE), round((clip.start_s + clip.duration_s) * RATE))
        inside = [shot for shot in searched if round(shot.start_s * RATE) in frames]
        if clip.ended[1] == "rejected" and len(inside) > 1 and all(shot.ended[1] in ("rejected", "skipped") for shot in inside):
            searched = [shot for shot in searched if shot not in inside] + [clip]
    return searched


def compare(clips: Sequence[Shot], shots: Sequence[Shot], starts: dict[str, float]) -> list[str]:
    """What differs, a line each."""

    def name(start_s: float) -> str:
        film = max((film for film, begins in starts.items() if begins <= start_s + 1 / RATE), key=starts.__getitem__)
        return f"{film} from its second {start_s - starts[film]:.2f} on"

    shots = _as_searched(clips, shots)
    of_clips, of_shots = ({round(shot.start_s * RATE): shot for shot in found} for found in (clips, shots))
    told = [f"{name(of_clips[at].start_s)}: no shot begins there" for at in sorted(of_clips.keys() - of_shots.keys())]
    told += [f"{name(of_shots[at].start_s)}: a shot that is none" for at in sorted(of_shots.keys() - of_clips.keys())]
    both = sorted(of_clips.keys() & of_shots.keys())
    for at in both:
        clip, shot = of_clips[at], of_shots[at]
        if abs(clip.duration_s - shot.duration_s) > 0.5 / RATE:
            told.append(f"{name(clip.start_s)}: {shot.duration_s:.2f} s in the recording, {clip.duration_s:.2f} s alone")
        elif clip.ended != shot.ended:
            told.append(f"{name(clip.start_s)}: {shot.ended} in the recording, {clip.ended} alone")
    kept = [at for at in both if of_clips[at].person and of_shots[at].person]
    for first, second in ((a, b) for a in kept for b in kept if a < b):
        one_alone, one_there = (found[first].person == found[second].person for found in (of_clips, of_shots))
        if one_alone != one_there:
            told.append(f"{name(first / RATE)} and {name(second / RATE)}: one person {one_there}, alone {one_alone}")
    return told
