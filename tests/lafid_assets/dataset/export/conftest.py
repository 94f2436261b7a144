"""A kept version with real files: what is exported."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from lafid_assets.dataset.lafid_dataset import Dataset
from lafid_assets.dataset.versions import Facts, find_version
from lafid_assets.ingest.media_probe import content_sha256
from resources.lake.lake import Lake
from resources.store.file_store import FileStore


@pytest.fixture
def version(
    lake: Lake,
    store: FileStore,
    curated: Callable[..., dict[str, pl.DataFrame]],
    keep: Callable[[dict[str, pl.DataFrame]], Dataset],
    tmp_path: Path,
    write_video: Callable[..., Path],
) -> Callable[..., Facts]:
    """Keeps clips as {clip: person} under a licence each ("CC0-1.0" unless named), with files and one reference picture each."""

    def make(persons: dict[str, str | None], models: dict[str, str] | None = None, **licences: str) -> Facts:
        root = tmp_path / "footage"
        tables = curated(persons, str(root))
        contents = {
            clip: content_sha256(write_video(root / clip, seconds=0.2 + 0.1 * number))
            for number, clip in enumerate(sorted(persons))
        }
        tables["clips"] = tables["clips"].with_columns(content_sha256=pl.col("clip_id").replace(contents))
        of_clip = {clip: licences.get(clip, "CC0-1.0") for clip in persons}
        tables["clip_rows"] = tables["clip_rows"].with_columns(licence=pl.col("path").replace_strict(of_clip))
        heard = pl.col("clip_id").replace_strict(models or {}, default=None, return_dtype=pl.String)
        tables["speech_info"] = tables["speech_info"].with_columns(
            has_audio=pl.lit(False),
            transcriber=heard,
            transcriber_licence=heard.replace_strict({"my-whisper": "unstated"}, default=None),
        )
        with_picture = pl.col("reference_index") == 0
        path_of = pl.format("crops/{}.png", "clip_id")
        tables["reference_crops"] = tables["reference_crops"].with_columns(
            face_path=pl.when(with_picture).then(path_of), head_path=pl.when(with_picture).then(path_of)
        )
        for clip in persons:
            store.write_bytes(f"crops/{clip}.png", f"picture of {clip}".encode())
        return find_version(lake, keep(tables).version.name)

    return make
