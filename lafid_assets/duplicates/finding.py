"""Duplicates over the whole dataset: only clips that are new or another are looked for among all.

Belongs here: clips, their hashes and tracks, and the last version -> the tables of `duplicate_clips`; which copy stays. Not here:
the steps on the way (`candidates`, `comparison`), reading the lake (the asset).
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np
import polars as pl

from lafid_assets.duplicates.candidates import find_candidates
from lafid_assets.duplicates.comparison import Track, compare
from lafid_assets.duplicates.policies import DuplicatePolicy
from lafid_assets.identity.clustering import one_engine
from lafid_assets.identity.leading_face import leading_faces
from lafid_assets.identity.policies import figure_for
from lafid_assets.outcomes import Reason, Status
from lafid_assets.policy_settings import settings_row
from lafid_assets.schemas import DUPLICATE_CLIPS, DUPLICATE_PAIRS, POLICY_SETTINGS

TABLES = (DUPLICATE_CLIPS, DUPLICATE_PAIRS)
NOTHING = {table.name: table.frame([]) for table in TABLES}
FACE_COLUMNS = ("clip_id", "frame_index", "face_index", "track_id", "frame_share", "rotation", "embedding")
FRAME_COLUMNS = ("clip_id", "frame_index", "time_s")
HASH_COLUMNS = ("clip_id", "time_s", "picture_hash", "crop_hashes")
PAIRS_AT_A_TIME = 2000

Frames = Mapping[str, pl.DataFrame]


class Measured(Protocol):
    """What was measured of clips, by their ids."""

    def frames(self, clips: Collection[str]) -> pl.DataFrame:
        """Their rows of `face_frames`, `FRAME_COLUMNS`."""
        ...

    def faces(self, clips: Collection[str]) -> pl.DataFrame:
        """Their rows of `faces`, `FACE_COLUMNS`."""
        ...

    def hashes(self, clips: Collection[str]) -> pl.DataFrame:
        """Their rows of `picture_hashes`, `HASH_COLUMNS`."""
        ...


def find_duplicates(clips: pl.DataFrame, policy: DuplicatePolicy, earlier: Frames, measured: Measured) -> dict[str, pl.DataFrame]:
    """A row for every clip that all steps have passed, and the likeness of every pair that may be one shot.

    Args:
        clips: `clip_id`, `shard`, `shorter_side_px`, `duration_s`, `engine`, `engine_version`, and `search_digest`, which names
            what was measured.
        earlier: the tables of the last version; `NOTHING` the first time.

    Returns:
        `duplicate_clips`, `duplicate_pairs` and `policy_settings`.

    Raises:
        MixedEngines: the embeddings cannot be compared.
        EngineUncalibrated: the policy has no figure for the engine.
    """
    engine = one_engine(clips)
    digests = earlier[DUPLICATE_CLIPS.name].select("clip_id", "search_digest")
    new = clips.join(digests, on=["clip_id", "search_digest"], how="anti")["clip_id"].sort()
    unchanged = clips.filter(~pl.col("clip_id").is_in(new))["clip_id"]
    pairs = earlier[DUPLICATE_PAIRS.name].filter(pl.col("clip_id_a").is_in(unchanged) & pl.col("clip_id_b").is_in(unchanged))
    if not new.is_empty():
        hashes = measured.hashes(clips["clip_id"])
        found = _candidates(hashes, new)
        blocks = [found.slice(start, PAIRS_AT_A_TIME) for start in range(0, found.height, PAIRS_AT_A_TIME)]
        pairs = DUPLICATE_PAIRS.frame(pl.concat([pairs, *(_compared(block, hashes, measured) for block in blocks)]))
    sha256, settings = settings_row(policy.model_dump_json())
    gone = choose(clips, same_shots(pairs, policy, clips["engine"][0])) if engine else {}
    said = [_said(clip, gone.get(clip)) for clip in clips["clip_id"]]
    rows = (
        clips.drop("engine", "engine_version")
        .with_columns(policy_sha256=pl.lit(sha256))
        .hstack(pl.DataFrame(said, schema={name: DUPLICATE_CLIPS.dtypes[name] for name in _SAID}))
    )
    return {DUPLICATE_CLIPS.name: DUPLICATE_CLIPS.frame(rows), DUPLICATE_PAIRS.name: pairs, POLICY_SETTINGS.name: settings}


_SAID = ("duplicate_of", "keep", "status", "reason", "detail")


def _said(clip: str, row: Mapping[str, Any] | None) -> dict[str, Any]:
    if row is None:
        return dict(zip(_SAID, (None, True, str(Status.OK), None, None), strict=True))
    best = row["duplicate_of"]
    offset = row["offset_s"] if best == row["clip_id_a"] else -row["offset_s"]
    where = f"from its second {offset:.2f} on" if offset >= 0 else f"which begins {-offset:.2f} s later"
    like = ", mirrored" if row["mirrored"] else ""
    detail = (
        f"the same shot as {best}{like}, {where}: pictures {row['picture_distance']:.0f} of 63 bits apart, poses "
        f"{row['pose_distance_deg']:.1f} degrees, faces alike by {row['face_similarity']:.3f}"
    )
    return dict(zip(_SAID, (best, False, str(Status.REJECTED), str(Reason.NEAR_DUPLICATE), detail), strict=True))


def _candidates(hashes: pl.DataFrame, new: pl.Series) -> pl.DataFrame:
    """`first` and `second` by id, in order, and whether `mirrored`."""
    ids = hashes["clip_id"].unique().sort()
    numbers = pl.DataFrame({"clip_id": ids}).with_row_index("clip").with_columns(is_new=pl.col("clip_id").is_in(new))
    rows = hashes.join(numbers, on="clip_id").with_columns(moment=pl.int_range(pl.len()).over("clip"))
    found = find_candidates(rows)
    return found.with_columns(first=ids.gather(found["first"]), second=ids.gather(found["second"]))


def _compared(pairs: pl.DataFrame, hashes: pl.DataFrame, measured: Measured) -> pl.DataFrame:
    """Rows of `duplicate_pairs` of those pairs that can be compared."""
    asked = pl.concat([pairs["first"], pairs["second"]]).unique().sort()
    tracks = tracks_of(measured.frames(asked), measured.faces(asked), hashes.filter(pl.col("clip_id").is_in(asked)))
    rows = []
    for first, second, mirrored in pairs.select("first", "second", "mirrored").iter_rows():
        if {first, second} <= tracks.keys():
            likeness = compare(tracks[first], tracks[second].mirrored() if mirrored else tracks[second])
            if likeness is not None:
                rows.append({"clip_id_a": first, "clip_id_b": second, "mirrored": mirrored} | likeness.__dict__)
    return DUPLICATE_PAIRS.frame(rows)


def tracks_of(frames: pl.DataFrame, faces: pl.DataFrame, hashes: pl.DataFrame) -> dict[str, Track]:
    """Clip id to its track; clips without faces have none.

    Args:
        frames, faces, hashes: `FRAME_COLUMNS`, `FACE_COLUMNS` and `HASH_COLUMNS` of any clips.
    """
    leading = leading_faces(faces).select("clip_id", "frame_index", "rotation", "embedding")
    joined = frames.join(leading, on=["clip_id", "frame_index"], how="left").sort("clip_id", "frame_index")
    pictures = hashes.sort("clip_id", "time_s").partition_by("clip_id", as_dict=True)
    return {
        clip: track
        for (clip,), rows in joined.partition_by("clip_id", as_dict=True).items()
        if (track := _track(rows, pictures.get((clip,), hashes.clear()))) is not None
    }


def _track(rows: pl.DataFrame, pictures: pl.DataFrame) -> Track | None:
    embedded = rows["embedding"].drop_nulls()
    if embedded.is_empty():
        return None
    cropped = pictures.filter(pl.col("crop_hashes").is_not_null())
    return Track(
        rows["time_s"].to_numpy(),
        _filled(rows["rotation"], 9).reshape(-1, 3, 3),
        _filled(rows["embedding"], len(embedded[0])),
        pictures["picture_hash"].to_numpy(),
        pictures["time_s"].to_numpy(),
        np.array(cropped["crop_hashes"].to_list(), np.int64).reshape(cropped.height, -1),
        cropped["time_s"].to_numpy(),
    )


def _filled(lists: pl.Series, width: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(F, width), NaN where there is no list."""
    return np.array([[np.nan] * width if values is None else values for values in lists.to_list()], np.float64).reshape(-1, width)


def same_shots(pairs: pl.DataFrame, policy: DuplicatePolicy, engine: str) -> pl.DataFrame:
    """The pairs that are one shot.

    Args:
        pairs: rows of `duplicate_pairs`.

    Raises:
        EngineUncalibrated: the policy has no figure for the engine.
    """
    alike = figure_for(engine, policy.face_similarity_min, "face_similarity_min")
    return pairs.filter(
        (pl.col("picture_distance") <= policy.picture_distance_max)
        & (pl.col("pose_distance_deg") <= policy.pose_distance_max_deg)
        & (pl.col("pose_distance_deg") <= policy.pose_chance_share_max * pl.col("pose_chance_deg"))
        & (pl.col("face_similarity") >= alike)
        & (pl.col("shared_share") >= policy.shared_share_min)
    )


def choose(clips: pl.DataFrame, same: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Clip id to the row of `same` that rejects it, with `duplicate_of`; clips that stay are not in it.

    The best copy stays: the largest shorter side, then the longest, then the smallest id. A clip goes only for one that stays
    itself: two pieces of a worse recording, which share nothing, both stay.

    Args:
        clips: `clip_id`, `shorter_side_px`, `duration_s`.
        same: as `same_shots` gives it.
    """
    others: defaultdict[str, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
    for row in same.iter_rows(named=True):
        others[row["clip_id_a"]].append((row["clip_id_b"], row))
        others[row["clip_id_b"]].append((row["clip_id_a"], row))
    ranked = clips.filter(pl.col("clip_id").is_in(list(others))).sort(
        -pl.col("shorter_side_px"), -pl.col("duration_s"), "clip_id", nulls_last=True
    )
    rank = {clip: place for place, clip in enumerate(ranked["clip_id"])}
    gone: dict[str, dict[str, Any]] = {}
    for clip in rank:
        better = [found for found in others[clip] if rank[found[0]] < rank[clip] and found[0] not in gone]
        if better:
            best, likeness = min(better, key=lambda found: rank[found[0]])
            gone[clip] = {**likeness, "duplicate_of": best}
    return gone
