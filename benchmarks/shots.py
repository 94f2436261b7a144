"""Cuts that were made against cuts that are found, and what finding them costs: `python -m benchmarks.shots [--json]`.

Uncut clips of ../shared/testdata are joined in pairs, hard and gradually, and encoded anew; others stay as they are, or get a
flash. Beside the project's finder, under the default policy, stand a plain difference of frames at the threshold that suits these
films best, and PySceneDetect's two detectors at their defaults where it is installed (it is no dependency). A find counts where
it lies within two frames of the transition. The share of the cost is that of the survey with the engine that is named.
Exit code 2 without the clips.
"""

import argparse
import importlib
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.faces.settings import AnalysisSettings
from lafid_assets.faces.survey import survey_clip
from lafid_assets.ingest.packets import open_clip, read_index
from lafid_assets.shots.boundaries import Kind, find_boundaries
from lafid_assets.shots.search import ShotSearch, Thumbnailer
from model.encoding.shown import ShownFrame, shown_frames
from model.encoding.video_io import Frames, fit_frames
from resources.face_engine import ENGINES, EngineChoice, load_face_engine

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "testdata" / "clips"
HAVE_CUTS = ("facerec_short_hamilton", "derived_", "latentsync_demo3", "cosmos_sintel", "noface", "liveportrait_d20")
"""Clips that have cuts, jumps or fades of their own (looked at), and derived ones, which show others' pictures again."""
RATE_HZ, WIDTH, HEIGHT = 25, 320, 192
SHOT_FRAMES, TOLERANCE = 50, 2
MADE = {
    "hard": 0,
    "dissolve 0.25 s": 6,
    "dissolve 0.5 s": 12,
    "dissolve 1 s": 25,
    "fade through black 0.4 s": 10,
    "fade through black 1 s": 25,
}

Span = tuple[int, int]
"""The last frame of the shot before and the first one of the shot behind."""


@dataclass(frozen=True)
class Film:
    """A film and the transition in it; None where there is none."""

    kind: str
    path: Path
    made: Span | None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, default=CLIPS, help="a folder of uncut clips; default ../shared/testdata/clips")
    parser.add_argument("--pairs", type=int, default=20, help="films of every kind")
    parser.add_argument("--engine", choices=ENGINES, default="dlib", help="engine of the survey that is the measure of the cost")
    parser.add_argument("--json", action="store_true", help="end with one object")
    arguments = parser.parse_args()
    if not arguments.clips.is_dir():
        print(f"the test clips ({arguments.clips}) are absent", file=sys.stderr)
        return 2
    sources = [path for path in sorted(arguments.clips.iterdir()) if not any(name in path.name for name in HAVE_CUTS)]
    with tempfile.TemporaryDirectory() as folder:
        films = make_films(sources, arguments.pairs, Path(folder))
        tables = {name: judge(films, find) for name, find in finders(films).items()}
    summary: dict[str, Any] = {"films": len(films), "found": tables, "cost": cost(sources[::12], arguments.engine)}
    show(summary)
    if arguments.json:
        print(json.dumps(summary))
    return 0


def make_films(sources: Sequence[Path], pairs: int, folder: Path) -> list[Film]:
    """`pairs` films of every kind of transition, and as many each without one and with a flash."""
    chance = np.random.default_rng(0)
    shots = [shot for path in sources if len(shot := read_shot(path)) == SHOT_FRAMES + max(MADE.values())]
    films = []
    for number in range(pairs):
        first, second = chance.choice(len(shots), 2, replace=False)
        uncut: dict[str, tuple[Frames, Span | None]] = {
            "no cut": (shots[first], None),
            "a flash": (flashed(shots[first], 1, 240), None),
            "a flash of 4 frames": (flashed(shots[first], 4, 90), None),
        }
        made = {kind: join(shots[first], shots[second], length, "black" in kind) for kind, length in MADE.items()}
        for kind, (frames, span) in (uncut | made).items():
            path = folder / f"{kind} {number}.mp4"
            _encode(path, frames)
            films.append(Film(kind, path, span))
    return films


def _encode(path: Path, frames: Frames) -> None:
    """As compressed as clips on the web are."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE_HZ, options={"crf": "25", "preset": "veryfast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def read_shot(path: Path) -> Frames:
    """The first frames of a clip, (T, 192, 320, 3)."""
    with open_clip(path) as container:
        frames = shown_frames(container, container.streams.video[0])
        wanted = SHOT_FRAMES + max(MADE.values())
        return np.concatenate(
            [fit_frames(shown.rgb(2 * WIDTH)[None], HEIGHT, WIDTH) for _, shown in zip(range(wanted), frames, strict=False)]
        )


def flashed(shot: Frames, length: int, light: int) -> Frames:
    """A shot of which `length` frames are brighter, and white where that is too much."""
    lit = slice(len(shot) // 2, len(shot) // 2 + length)
    return np.concatenate([shot[: lit.start], np.clip(shot[lit] * 1.6 + light, 0, 255).astype(np.uint8), shot[lit.stop :]])


def join(before: Frames, behind: Frames, length: int, by_black: bool) -> tuple[Frames, Span]:
    """Two shots with a transition of `length` frames between them."""
    share = ((np.arange(length) + 1) / (length + 1))[:, None, None, None]
    out, into = before[SHOT_FRAMES : SHOT_FRAMES + length], behind[:length]
    mixed = (
        out * np.maximum(1 - 2 * share, 0) + into * np.maximum(2 * share - 1, 0) if by_black else out * (1 - share) + into * share
    )
    whole = np.concatenate([before[:SHOT_FRAMES], mixed.astype(np.uint8), behind[length : length + SHOT_FRAMES]])
    return whole, (SHOT_FRAMES - 1, SHOT_FRAMES + length)


def finders(films: Sequence[Film]) -> dict[str, Callable[[Path], list[Span]]]:
    """What is compared, by name."""
    plain = {film.path: _differences(film.path) for film in films}
    threshold = max(
        np.unique(np.round(np.concatenate(list(plain.values())))), key=lambda t: _f1(films, lambda p: _above(plain[p], t))
    )
    return {
        "this project": ours,
        f"difference of frames over {threshold:.0f}": lambda path: _above(plain[path], threshold),
        **({name: _scenedetect(name) for name in ("ContentDetector", "AdaptiveDetector")} if _has_scenedetect() else {}),
    }


def ours(path: Path) -> list[Span]:
    """What the default policy calls a cut."""
    policy = FacePolicy()
    most = {Kind.HARD: policy.hard_cut_score_max, Kind.GRADUAL: policy.gradual_cut_score_max}
    found = find_boundaries(_thumbnails(path), RATE_HZ)
    return [(one.first, one.last) for one in found if one.score > (most[one.kind] or 0)]


def _thumbnails(path: Path) -> NDArray[np.uint8]:
    """(T, 3, 18, 32)."""
    thumbnail = Thumbnailer()
    with open_clip(path) as container:
        return np.stack([thumbnail(shown.frame) for shown in shown_frames(container, container.streams.video[0])])


def _differences(path: Path) -> NDArray[np.float64]:
    """(T - 1,) mean absolute difference of luma of every frame and the one before."""
    return np.asarray(np.abs(np.diff(_thumbnails(path)[:, 0].astype(float), axis=0)).mean(axis=(1, 2)))


def _above(differences: NDArray[np.float64], threshold: float) -> list[Span]:
    return [(int(at), int(at) + 1) for at in np.flatnonzero(differences > threshold)]


def _has_scenedetect() -> bool:
    return importlib.util.find_spec("scenedetect") is not None


def _scenedetect(name: str) -> Callable[[Path], list[Span]]:
    library = importlib.import_module("scenedetect")

    def find(path: Path) -> list[Span]:
        scenes = library.detect(str(path), getattr(library, name)(min_scene_len=8))
        return [(scene[0].frame_num - 1, scene[0].frame_num) for scene in scenes[1:]]

    return find


def judge(films: Sequence[Film], find: Callable[[Path], list[Span]]) -> dict[str, Any]:
    """Recall by kind, false finds in films without a transition, and precision over all."""
    recall: dict[str, list[bool]] = {}
    false: dict[str, int] = {}
    right = wrong = 0
    for film in films:
        hits = [film.made is not None and _meets(found, film.made) for found in find(film.path)]
        right, wrong = right + any(hits), wrong + hits.count(False)
        if film.made is None:
            false[film.kind] = false.get(film.kind, 0) + bool(hits)
        else:
            recall.setdefault(film.kind, []).append(any(hits))
    return {
        "recall": {kind: float(np.mean(found)) for kind, found in recall.items()},
        "films_with_a_false_cut": false,
        "precision": right / max(right + wrong, 1),
    }


def _meets(found: Span, made: Span) -> bool:
    return found[0] <= made[1] + TOLERANCE and found[1] >= made[0] - TOLERANCE


def _f1(films: Sequence[Film], find: Callable[[Path], list[Span]]) -> float:
    judged = judge(films, find)
    recall = float(np.mean(list(judged["recall"].values())))
    return 2 * recall * judged["precision"] / max(recall + judged["precision"], 1e-9)


def cost(clips: Sequence[Path], engine_name: str) -> dict[str, Any]:
    """CPU seconds of the finder and of the whole survey, over some clips."""
    settings = AnalysisSettings(engine=engine_name)
    engine = load_face_engine(EngineChoice(engine=engine_name))
    finder_s = survey_s = 0.0
    for path in clips:
        with open_clip(path) as container:
            search = ShotSearch(read_index(path))
            for shown in shown_frames(container, container.streams.video[0]):
                finder_s += _spent(search, shown)
        finder_s += _spent(search.rows, path.name, "")
        survey_s += _spent(survey_clip, path.name, "", path, settings, engine)
    return {"clips": len(clips), "engine": engine_name, "finder_s": finder_s, "survey_s": survey_s, "share": finder_s / survey_s}


def _spent(call: Callable[..., Any], *arguments: str | Path | ShownFrame | Any) -> float:
    started_s = time.process_time()
    call(*arguments)
    return time.process_time() - started_s


def show(summary: dict[str, Any]) -> None:
    """Both tables as text."""
    for name, table in summary["found"].items():
        print(f"{name}: precision {table['precision']:.2f}; films with a false cut: {table['films_with_a_false_cut']}")
        for kind, recall in table["recall"].items():
            print(f"    {kind:24} recall {recall:.2f}")
    spent = summary["cost"]
    print(
        f"{spent['finder_s']:.2f} s of the survey's {spent['survey_s']:.1f} s of CPU ({spent['share']:.1%}) "
        f"over {spent['clips']} clips with {spent['engine']}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
