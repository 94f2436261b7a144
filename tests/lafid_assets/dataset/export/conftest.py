"""A kept version with real files: what is exported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lafid_assets.dataset.lafid_dataset import put_together
from lafid_assets.dataset.versions import KeptVersion, keep_version, read_version
from lafid_assets.ingest.media_probe import content_sha256
from lafid_assets.schemas import DATASET_VERSIONS, LAFID_DATASET
from resources.shard_store import ShardStore


@pytest.fixture
def version(
    store: ShardStore, curated: Callable[..., dict[str, pl.DataFrame]], tmp_path: Path, write_video: Callable[..., Path]
) -> Callable[..., KeptVersion]:
    """Keeps clips as {clip: person} under a licence each ("CC0-1.0" unless named), with files and one reference picture each."""

    def make(persons: dict[str, str | None], **licences: str) -> KeptVersion:
        root = tmp_path / "footage"
        tables = curated(persons, str(root))
        facts: list[dict[str, Any]] = tables["raw_clips"].to_dicts()
        for number, row in enumerate(facts):
            path = write_video(root / row["clip_id"], seconds=0.2 + 0.1 * number)
            row |= {"content_sha256": content_sha256(path), "licence": licences.get(row["clip_id"], "CC0-1.0")}
        tables["raw_clips"] = pl.DataFrame(facts, schema=tables["raw_clips"].schema)
        crops = tables["reference_crops"]
        with_picture = pl.col("reference_index") == 0
        path_of = pl.format("crops/{}.png", "clip_id")
        tables["reference_crops"] = crops.with_columns(
            face_path=pl.when(with_picture).then(path_of), head_path=pl.when(with_picture).then(path_of)
        )
        for clip in persons:
            store.write_bytes(f"crops/{clip}.png", f"picture of {clip}".encode())
        made = put_together(tables)
        rows = keep_version(store, LAFID_DATASET.frame(made.rows), made.version, made.outcomes, made.decided_by)
        store.write_group({DATASET_VERSIONS.name: rows}, "all", "f")
        return read_version(store, made.version)

    return make
