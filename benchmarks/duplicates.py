"""Copies of real clips against what is found of them: `python -m benchmarks.duplicates [--json]`.

Of clips of ../shared/testdata that show a face, an original and copies are encoded: half the size, cropped by a tenth, by a
quarter of the width, to a square, put between bars, without the first third, mirrored, and several of these; and where the clip
goes on, another take: the same person in the same room. Long films, whose sampled frames lie seconds apart, are played to and fro
from some of the clips, with copies of parts of them, and as other takes the same pictures in another order (beside short films of
these pictures they count neither way). All are surveyed and
compared as `duplicate_clips` does, under the default policy. Recall is that of pairs of copies of one original, by kind; any
other pair that is taken for one shot counts against precision. Beside the recall over all stands that over the heads that turn as
the policy `cofe` asks: no other clip comes so far in a curation. `--search N` measures the search for candidates alone, over N
clips and twice as many whose pictures wander at random.
Exit code 2 without the clips.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.constraints import measures
from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.duplicates.candidates import find_candidates
from lafid_assets.duplicates.finding import FACE_COLUMNS, FRAME_COLUMNS, HASH_COLUMNS, NOTHING, find_duplicates, same_shots
from lafid_assets.duplicates.policies import DuplicatePolicy
from lafid_assets.faces.settings import AnalysisSettings
from lafid_assets.faces.survey import TierRows, survey_clip
from lafid_assets.ingest.packets import open_clip
from lafid_assets.pictures.picture_hash import CROPS
from lafid_assets.schemas import FACE_FRAMES, FACE_INFO, FACES, PICTURE_HASHES
from model.encoding.shown import shown_frames
from resources.face_engine import ENGINES, EngineChoice, load_face_engine

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "testdata" / "clips"
WITHOUT_ONE_FACE = ("derived_", "intel_bottle", "intel_one-by-one", "intel_face-demographics", "cosmos", "no_face", "noface")
SIDE_PX, SECONDS = 640, 4.0
Film = list[NDArray[np.uint8]]
ANOTHER_TAKE = "another take"


def _smaller(film: Film) -> Film:
    return [np.ascontiguousarray(frame[::2, ::2]) for frame in film]


def _cropped(film: Film) -> Film:
    height, width = film[0].shape[:2]
    return [frame[height // 20 : height - height // 20, width // 20 : width - width // 20] for frame in film]


def _narrower(film: Film, share: float = 0.125) -> Film:
    """Without so much of the width on either side: at an eighth, 16:9 becomes 4:3."""
    off = round(share * film[0].shape[1])
    return [frame[:, off : frame.shape[1] - off] for frame in film]


def _square(film: Film) -> Film:
    height, width = sorted(film[0].shape[:2])
    return _narrower(film, (1 - height / width) / 2) if film[0].shape[1] > film[0].shape[0] else film


def _barred(film: Film) -> Film:
    bar = film[0].shape[0] // 6
    return [np.pad(frame, ((bar, bar), (0, 0), (0, 0))) for frame in film]


def _shortened(film: Film) -> Film:
    return film[len(film) * 3 // 10 :]


def _mirrored(film: Film) -> Film:
    return [frame[:, ::-1] for frame in film]


COPIES: dict[str, tuple[Callable[[Film], Film], int]] = {
    "original": (lambda film: film, 18),
    "smaller": (_smaller, 30),
    "cropped": (_cropped, 26),
    "narrower": (_narrower, 26),
    "square": (_square, 26),
    "barred": (_barred, 26),
    "shortened": (_shortened, 26),
    "all three": (lambda film: _smaller(_cropped(_shortened(film))), 28),
    "mirrored": (_mirrored, 24),
    "all four": (lambda film: _smaller(_mirrored(_cropped(_shortened(film)))), 28),
}
LONG_SOURCES = ("intel_gaze_demo", "liveportrait_d12", "liveportrait_src_s32")
LONG_SIDE_PX, LONG_S, LONG_RATE = 400, 150, 10
LONG = "long "
LONG_COPIES: dict[str, tuple[Callable[[Film], Film], int]] = {
    "original": (lambda film: film, 20),
    "middle": (lambda film: film[len(film) // 3 : len(film) * 2 // 3], 28),
    "cropped end": (lambda film: _cropped(film[len(film) // 3 :]), 26),
    "mirrored middle": (lambda film: _mirrored(film[len(film) // 3 : len(film) * 2 // 3]), 26),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, default=CLIPS, help="a folder of clips; default ../shared/testdata/clips")
    parser.add_argument("--most", type=int, default=12, help="clips that are copied")
    parser.add_argument("--engine", choices=ENGINES, default="dlib")
    parser.add_argument("--long", type=int, default=2, help="clips of which long films are made")
    parser.add_argument("--search", type=int, default=0, help="also search this many generated clips, and twice as many")
    parser.add_argument("--json", action="store_true", help="end with one object")
    arguments = parser.parse_args()
    if not arguments.clips.is_dir():
        print(f"the test clips ({arguments.clips}) are absent", file=sys.stderr)
        return 2
    sources = [path for path in sorted(arguments.clips.iterdir()) if not any(word in path.name for word in WITHOUT_ONE_FACE)]
    with tempfile.TemporaryDirectory() as folder:
        films = make_films(sources, arguments.most, Path(folder))
        turning = [path for path in sources if path.stem in LONG_SOURCES]
        films |= make_long_films(turning[: arguments.long], Path(folder))
        summary = judge(films, arguments.engine)
    if arguments.search:
        summary["search"] = {count: search(count) for count in (arguments.search, 2 * arguments.search)}
    for name, value in summary.items():
        print(f"{name}: {value}")
    if arguments.json:
        print(json.dumps(summary))
    return 0


def make_films(sources: Sequence[Path], most: int, folder: Path) -> dict[tuple[str, str], Path]:
    """(source, kind) to the file: at most so many sources."""
    films = {}
    for source in sources:
        if len({name for name, _ in films}) == most:
            break
        frames, rate = _read(source)
        length = round(SECONDS * float(rate))
        if len(frames) < length:
            continue
        kinds = {kind: (make(frames[:length]), crf) for kind, (make, crf) in COPIES.items()}
        if len(frames) >= 2 * length:
            kinds[ANOTHER_TAKE] = frames[length : 2 * length], 18
        for kind, (film, crf) in kinds.items():
            films[source.stem, kind] = path = folder / f"{source.stem} {kind}.mp4"
            _encode(path, film, rate, crf)
    return films


def make_long_films(sources: Sequence[Path], folder: Path) -> dict[tuple[str, str], Path]:
    """(source, kind) to the file."""
    films = {}
    for source in sources:
        frames, rate = _read(source, LONG_SIDE_PX)
        for take, kinds in ((0, LONG_COPIES), (1, {ANOTHER_TAKE: LONG_COPIES["middle"]})):
            film = _to_and_fro(frames, float(rate), take)
            for kind, (make, crf) in kinds.items():
                films[LONG + source.stem, kind] = path = folder / f"{LONG}{source.stem} {kind}.mp4"
                _encode(path, make(film), Fraction(LONG_RATE), crf)
    return films


def _to_and_fro(frames: Film, rate: float, take: int) -> Film:
    """The frames in an order that no other take repeats: forwards and backwards, at a pace that changes, without a jump."""
    chance = np.random.default_rng(take)
    place, film = 0.0, []
    for pace in np.repeat(chance.uniform(-1.5, 1.5, LONG_S), LONG_RATE):
        place = (place + pace * rate / LONG_RATE) % (2 * len(frames) - 2)
        film.append(frames[round(len(frames) - 1 - abs(place - (len(frames) - 1)))])
    return film


def _read(path: Path, side_px: int = SIDE_PX) -> tuple[Film, Fraction]:
    with open_clip(path) as container:
        stream = container.streams.video[0]
        rate = Fraction(stream.average_rate or 25).limit_denominator(1000)
        wanted = 2 * round(SECONDS * float(rate))
        return [shown.rgb(side_px) for _, shown in zip(range(wanted), shown_frames(container, stream), strict=False)], rate


def _encode(path: Path, film: Film, rate: Fraction, crf: int) -> None:
    height, width = (side // 2 * 2 for side in film[0].shape[:2])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in film:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")))
        container.mux(stream.encode(None))


def judge(films: dict[tuple[str, str], Path], engine_name: str) -> dict[str, Any]:
    """Recall by kinds, precision, and CPU seconds."""
    engine, settings, policy = load_face_engine(EngineChoice(engine=engine_name)), AnalysisSettings(), DuplicatePolicy()
    begun = time.process_time()
    seen = {name: survey_clip(" ".join(name), "", path, settings, engine) for name, path in films.items()}
    surveyed_s = time.process_time() - begun
    clips = pl.DataFrame({"clip_id": [" ".join(name) for name in films]}).with_columns(
        shard=pl.lit(""), shorter_side_px=pl.lit(1, pl.Int32), duration_s=pl.lit(SECONDS), search_digest=pl.lit("")
    )
    clips = clips.with_columns(engine=pl.lit(engine.info.name), engine_version=pl.lit(engine.info.version))
    begun = time.process_time()
    tables = find_duplicates(clips, policy, NOTHING, _Surveyed(seen.values()))
    found_s = time.process_time() - begun
    pairs = tables["duplicate_pairs"]
    same = {frozenset(pair) for pair in same_shots(pairs, policy, engine.info.name).select("clip_id_a", "clip_id_b").rows()}
    by_kind: dict[str, list[bool]] = defaultdict(list)
    for one, other in combinations(films, 2):
        if _is_copy(one, other):
            kind = f"{LONG if one[0].startswith(LONG) else ''}{one[1]} and {other[1]}"
            by_kind[kind].append(frozenset((" ".join(one), " ".join(other))) in same)
    hits = sum(map(sum, by_kind.values()))
    turning = _turning(seen)
    of_turning = [
        frozenset((" ".join(one), " ".join(other))) in same
        for one, other in combinations(films, 2)
        if _is_copy(one, other) and one[0] in turning
    ]
    names = {" ".join(name): name for name in films}
    pairs_found = [tuple(names[clip] for clip in pair) for pair in same]
    wrong = sorted(" = ".join(sorted(map(" ".join, pair))) for pair in pairs_found if not _is_copy(*pair) and not _replays(*pair))
    return {
        "sources": len({name for name, _ in films}),
        "films": len(films),
        "other takes": sum(kind == ANOTHER_TAKE for _, kind in films),
        "recall": round(hits / max(1, sum(map(len, by_kind.values()))), 3),
        "turning": {"sources": len(turning), "found": f"{sum(of_turning)} of {len(of_turning)}"},
        "precision": round(hits / max(1, hits + len(wrong)), 3),
        "found": {kind: f"{sum(found)} of {len(found)}" for kind, found in by_kind.items()},
        "missed": sorted(
            f"{one[0]}: {one[1]}, {other[1]}"
            for one, other in combinations(films, 2)
            if _is_copy(one, other) and frozenset((" ".join(one), " ".join(other))) not in same
        ),
        "wrong": wrong,
        "candidates": pairs.height,
        "CPU seconds": {"survey": round(surveyed_s, 1), "duplicates": round(found_s, 2)},
    }


def _is_copy(one: tuple[str, str], other: tuple[str, str]) -> bool:
    return one[0] == other[0] and ANOTHER_TAKE not in (one[1], other[1])


def _replays(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether a long film meets a short one of the frames that it plays: such a pair counts neither way."""
    return one[0].removeprefix(LONG) == other[0].removeprefix(LONG) and one[0] != other[0]


def _turning(seen: dict[tuple[str, str], TierRows]) -> set[str]:
    """The sources whose originals turn as `cofe` asks."""
    policy, turning = FacePolicy(), set()
    for (source, kind), rows in seen.items():
        if kind != "original":
            continue
        faces = _frame(rows.faces, measures.FACE_COLUMNS, FACE_INFO.dtypes)
        frames = _frame(rows.frames, measures.FRAME_COLUMNS, FACE_FRAMES.dtypes)
        [measured] = measures.measure_clips(faces, frames, policy).to_dicts()
        asked = (("pose_variation_deg", policy.pose_variation_min_deg), ("pose_spread_deg", policy.pose_spread_min_deg))
        if all((measured[name] or 0.0) >= (least or 0.0) for name, least in asked):
            turning.add(source)
    return turning


def _frame(rows: list[dict[str, Any]], columns: Sequence[str], dtypes: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{name: row[name] for name in columns} for row in rows], schema={name: dtypes[name] for name in columns})


class _Surveyed:
    """What the survey saw, as the lake would give it."""

    def __init__(self, seen: Iterable[TierRows]) -> None:
        rows = list(seen)
        self._frames = _frame([row for one in rows for row in one.frames], FRAME_COLUMNS, FACE_FRAMES.dtypes)
        self._faces = _frame([row for one in rows for row in one.faces], FACE_COLUMNS, FACES.dtypes)
        self._hashes = _frame([row for one in rows for row in one.hashes], HASH_COLUMNS, PICTURE_HASHES.dtypes)

    def frames(self, clips: Collection[str]) -> pl.DataFrame:
        return self._frames.filter(pl.col("clip_id").is_in(list(clips)))

    def faces(self, clips: Collection[str]) -> pl.DataFrame:
        return self._faces.filter(pl.col("clip_id").is_in(list(clips)))

    def hashes(self, clips: Collection[str]) -> pl.DataFrame:
        return self._hashes.filter(pl.col("clip_id").is_in(list(clips)))


def search(count: int) -> dict[str, float]:
    """Wall seconds of the search over so many new clips of 20 frames, and the pairs that it gives."""
    chance = np.random.default_rng(0)
    first = chance.integers(0, 2**63, (count, 1), dtype=np.int64)
    flips = np.int64(1) << chance.integers(0, 63, (count, 20), dtype=np.int64)
    hashes = first ^ np.bitwise_xor.accumulate(flips, axis=1)
    crops = hashes[:, :16, None] ^ (np.int64(1) << chance.integers(0, 63, (count, 16, len(CROPS)), dtype=np.int64))
    rows = pl.DataFrame({"clip": np.repeat(np.arange(count), 20), "picture_hash": hashes.ravel()}).with_columns(
        moment=pl.int_range(pl.len()).over("clip"), is_new=pl.lit(True)
    )
    listed = pl.Series(crops[:, ::2].reshape(-1, len(CROPS)), dtype=pl.Array(pl.Int64, len(CROPS))).cast(pl.List(pl.Int64))
    sparse = rows.filter((pl.col("moment") % 2 == 0) & (pl.col("moment") < 16)).select("clip", "moment")
    looks = rows.join(sparse.with_columns(crop_hashes=listed), on=["clip", "moment"], how="left")
    begun = time.perf_counter()
    found = find_candidates(looks)
    return {"seconds": round(time.perf_counter() - begun, 1), "pairs": found.height}


if __name__ == "__main__":
    sys.exit(main())
