"""`duplicate_clips`: which clips show a shot that a better clip shows, too.

Belongs here: the asset, and reading what it compares. Not here: finding them (`finding`), thresholds (`policies`).
"""

from collections.abc import Collection

import dagster as dg
import polars as pl

from lafid_assets import schemas
from lafid_assets.duplicates.finding import FACE_COLUMNS, FRAME_COLUMNS, HASH_COLUMNS, NOTHING, TABLES, find_duplicates
from lafid_assets.duplicates.policies import DuplicatePolicy
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Frames, Work
from resources.lake.duckdb_extensions import quoted
from resources.lake.lake import Lake
from resources.lake.reader import Reader

STEP = Step(
    writes=(*TABLES, schemas.POLICY_SETTINGS),
    reads=(
        *(schemas.SPEECH_TAGGED_CLIPS.name, *schemas.FOOTAGE_TABLES, schemas.FACE_CLIPS.name, schemas.FACE_FRAMES.name),
        *(schemas.PICTURE_HASHES.name, schemas.FACE_INFO.name, schemas.FACE_EMBEDDINGS.name),
    ),
    group="curation",
    code_version="3",
    kinds=frozenset({"duckdb", "numpy"}),
)
PASSED = f"""
    SELECT clip_id, shard, duration_s, engine, engine_version, least(width, height) AS shorter_side_px,
        md5(concat_ws(' ', face_clips.fingerprint, face_clips.content_sha256)) AS search_digest
    FROM {schemas.SPEECH_TAGGED_CLIPS.name} tagged JOIN {schemas.FACE_CLIPS.name} face_clips USING (shard, clip_id)
    JOIN {schemas.FOOTAGE.name} footage USING (shard, clip_id)
    WHERE tagged.status = 'ok' ORDER BY clip_id
"""


class DuplicateClipsConfig(dg.Config, DuplicatePolicy):
    """When two clips show the same shot."""


@STEP.as_asset(deps=["speech_tagged_clips", "face_info"])
def duplicate_clips(
    context: dg.AssetExecutionContext, config: DuplicateClipsConfig, lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """Which clips show a shot that a better clip shows, too, over all shards: encoded anew, scaled, cropped, mirrored or
    shortened.

    The dataset keeps the best copy alone, so that no shot counts twice and none is in two splits.
    """

    def compute(_: str) -> Frames:
        with lake.snapshot(all_cores=True) as reader:
            names = [table.name for table in TABLES]
            earlier = {name: reader.read(name) for name in names} if len(reader.stamps(names)) == len(names) else NOTHING
            passed = reader.sql(PASSED)
            return find_duplicates(passed, config, earlier, _OfClips(reader, passed))

    return STEP.materialize(context, config, lake, Work(compute, metadata=lambda _, frames: _describe(frames)))


class _OfClips:
    """Reads single clips; of a table's files only those of their shards are opened."""

    def __init__(self, reader: Reader, passed: pl.DataFrame) -> None:
        self._reader = reader
        self._shard_of = dict(passed.select("clip_id", "shard").iter_rows())

    def frames(self, clips: Collection[str]) -> pl.DataFrame:
        """`FRAME_COLUMNS`."""
        return self._read(schemas.FACE_FRAMES.name, FRAME_COLUMNS, clips)

    def faces(self, clips: Collection[str]) -> pl.DataFrame:
        """`FACE_COLUMNS`."""
        return self._read(schemas.FACES.name, FACE_COLUMNS, clips)

    def hashes(self, clips: Collection[str]) -> pl.DataFrame:
        """`HASH_COLUMNS`."""
        return self._read(schemas.PICTURE_HASHES.name, HASH_COLUMNS, clips)

    def _read(self, table: str, columns: Collection[str], clips: Collection[str]) -> pl.DataFrame:
        shards = ", ".join(quoted(shard) for shard in sorted({self._shard_of[clip] for clip in clips})) or "NULL"
        return self._reader.sql(
            f"SELECT {', '.join(columns)} FROM {table} SEMI JOIN asked USING (clip_id) WHERE shard IN ({shards})",
            asked=pl.DataFrame({"clip_id": list(clips)}, schema={"clip_id": pl.String}),
        )


def _describe(frames: Frames) -> dict[str, int]:
    return {"duplicates": frames[schemas.DUPLICATE_CLIPS.name].filter(~pl.col("keep")).height}
