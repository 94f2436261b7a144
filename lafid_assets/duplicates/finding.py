"""Duplicates over the whole dataset: only clips that are new or another are looked for among all.

Belongs here: clips, their hashes and tracks, and the last version -> the tables of `duplicate_clips`. Not here: the steps on the
way (`candidates`, `comparison`, `choice`), reading the lake (the asset).
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import polars as pl

from lafid_assets.duplicates.candidates import find_candidates
from lafid_assets.duplicates.choice import choose, same_shots
from lafid_assets.duplicates.comparison import Track, compare
from lafid_assets.duplicates.policies import DuplicatePolicy
from lafid_assets.identity.clustering import one_engine
from lafid_assets.identity.leading_face import leading_faces
from lafid_assets.outcomes import Reason, Status
from lafid_assets.policy_settings import settings_row
from lafid_assets.schemas import DUPLICATE_CLIPS, DUPLICATE_PAIRS, POLICY_SETTINGS

TABLES = (DUPLICATE_CLIPS, DUPLICATE_PAIRS)
NOTHING = {table.name: table.frame([]) for table in TABLES}
FACE_COLUMNS = ("clip_id", "frame_index", "face_index", "track_id", "frame_share", "rotation", "embedding")
FRAME_COLUMNS = ("clip_id", "frame_index", "time_s", "picture_hash", "crop_hashes")
PAIRS_AT_A_TIME = 2000

Frames = Mapping[str, pl.DataFrame]
ReadFrames = Callable[[Collection[str]], pl.DataFrame]
"""Clip ids to their rows of `face_frames`, `FRAME_COLUMNS`."""
ReadFaces = Callable[[Collection[str]], pl.DataFrame]
"""Clip ids to their rows of `faces`, `FACE_COLUMNS`."""


def find_duplicates(
    clips: pl.DataFrame, policy: DuplicatePolicy, earlier: Frames, read_frames: ReadFrames, read_faces: ReadFaces
) -> dict[str, pl.DataFrame]:
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
    before = earlier[DUPLICATE_CLIPS.name].join(
        clips.select("clip_id", "search_digest"), on=["clip_id", "search_digest"], how="semi"
    )
    new = clips.join(before, on="clip_id", how="anti")["clip_id"].sort()
    looks = pl.concat([before.select("clip_id", "looks"), _looks(read_frames(new), new)])
    unchanged = before["clip_id"]
    pairs = earlier[DUPLICATE_PAIRS.name].filter(pl.col("clip_id_a").is_in(unchanged) & pl.col("clip_id_b").is_in(unchanged))
    found = _candidates(looks, new)
    blocks = [found.slice(start, PAIRS_AT_A_TIME) for start in range(0, found.height, PAIRS_AT_A_TIME)]
    pairs = DUPLICATE_PAIRS.frame(pl.concat([pairs, *(_compared(block, read_frames, read_faces) for block in blocks)]))
    sha256, settings = settings_row(policy.model_dump_json())
    gone = choose(clips, same_shots(pairs, policy, clips["engine"][0])) if engine else {}
    said = [_said(clip, gone.get(clip)) for clip in clips["clip_id"]]
    rows = (
        clips.drop("engine", "engine_version")
        .join(looks, on="clip_id", how="left")
        .with_columns(policy_sha256=pl.lit(sha256))
        .hstack(pl.DataFrame(said, schema={name: DUPLICATE_CLIPS.dtypes[name] for name in _SAID}))
    )
    return {
        DUPLICATE_CLIPS.name: DUPLICATE_CLIPS.frame(rows),
        DUPLICATE_PAIRS.name: pairs,
        POLICY_SETTINGS.name: settings,
    }


_SAID = ("duplicate_of", "keep", "status", "reason", "detail")


def _said(clip: str, row: Mapping[str, Any] | None) -> dict[str, Any]:
    if row is None:
        return dict(zip(_SAID, (None, True, str(Status.OK), None, None), strict=True))
    best = row["duplicate_of"]
    offset = row["offset_s"] if best == row["clip_id_a"] else -row["offset_s"]
    where = f"from its second {offset:.2f} on" if offset >= 0 else f"which begins {-offset:.2f} s later"
    detail = (
        f"the same shot as {best}, {where}: pictures {row['picture_distance']:.0f} of 63 bits apart, poses "
        f"{row['pose_distance_deg']:.1f} degrees, faces alike by {row['face_similarity']:.3f}"
    )
    return dict(zip(_SAID, (best, False, str(Status.REJECTED), str(Reason.NEAR_DUPLICATE), detail), strict=True))


def _looks(frames: pl.DataFrame, clips: pl.Series) -> pl.DataFrame:
    """`clip_id` and `looks`, the hashes of its frames, of every one of `clips`."""
    listed = (
        frames.filter(pl.col("picture_hash").is_not_null())
        .sort("clip_id", "frame_index")
        .group_by("clip_id", maintain_order=True)
        .agg(looks=pl.struct("picture_hash", "crop_hashes"))
    )
    every = clips.to_frame().join(listed, on="clip_id", how="left", maintain_order="left")
    return every.with_columns(pl.col("looks").cast(DUPLICATE_CLIPS.dtypes["looks"]).fill_null([]))


def _candidates(looks: pl.DataFrame, new: pl.Series) -> pl.DataFrame:
    """`first` and `second` by id, in order."""
    if new.is_empty():
        return pl.DataFrame(schema={"first": pl.String, "second": pl.String})
    ordered = looks.sort("clip_id").with_row_index("clip")
    is_new = pl.col("clip_id").is_in(new)
    rows = ordered.select("clip", "looks", is_new=is_new).explode("looks", empty_as_null=False).unnest("looks")
    found = find_candidates(rows.with_columns(moment=pl.int_range(pl.len()).over("clip")))
    ids = ordered["clip_id"]
    return pl.DataFrame({"first": ids.gather(found["first"]), "second": ids.gather(found["second"])})


def _compared(pairs: pl.DataFrame, read_frames: ReadFrames, read_faces: ReadFaces) -> pl.DataFrame:
    """Rows of `duplicate_pairs` of those pairs that can be compared."""
    asked = pl.concat([pairs["first"], pairs["second"]]).unique().sort()
    tracks = tracks_of(read_frames(asked), read_faces(asked))
    rows = []
    for first, second in pairs.iter_rows():
        likeness = compare(tracks[first], tracks[second]) if {first, second} <= tracks.keys() else None
        if likeness is not None:
            rows.append({"clip_id_a": first, "clip_id_b": second} | likeness.__dict__)
    return DUPLICATE_PAIRS.frame(rows)


def tracks_of(frames: pl.DataFrame, faces: pl.DataFrame) -> dict[str, Track]:
    """Clip id to its track; clips without faces have none.

    Args:
        frames, faces: `FRAME_COLUMNS` and `FACE_COLUMNS` of any clips.
    """
    leading = leading_faces(faces).select("clip_id", "frame_index", "rotation", "embedding")
    joined = frames.join(leading, on=["clip_id", "frame_index"], how="left").sort("clip_id", "frame_index")
    return {
        clip: track
        for (clip,), rows in joined.partition_by("clip_id", as_dict=True).items()
        if (track := _track(rows)) is not None
    }


def _track(rows: pl.DataFrame) -> Track | None:
    embedded = rows["embedding"].drop_nulls()
    if embedded.is_empty():
        return None
    cropped = rows.filter(pl.col("crop_hashes").is_not_null())
    return Track(
        rows["time_s"].to_numpy(),
        _filled(rows["rotation"], 9).reshape(-1, 3, 3),
        _filled(rows["embedding"], len(embedded[0])),
        rows["picture_hash"].fill_null(0).to_numpy(),
        rows["picture_hash"].is_not_null().to_numpy(),
        np.array(cropped["crop_hashes"].to_list(), np.int64).reshape(cropped.height, -1),
        cropped["time_s"].to_numpy(),
    )


def _filled(lists: pl.Series, width: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(F, width), NaN where there is no list."""
    return np.array([[np.nan] * width if values is None else values for values in lists.to_list()], np.float64).reshape(-1, width)
