"""`raw_clips`: a fault in one file is that clip's row and nobody else's."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from lafid_assets.definitions import build_defs
from lafid_assets.ingest import media_probe
from lafid_assets.ingest.media_probe import content_sha256
from lafid_assets.ingest.openhumanvid import list_clips
from lafid_assets.ingest.raw_clips import probe_clips, raw_clips
from lafid_assets.ingest.shards import MANIFEST_TABLE, register_clips
from lafid_assets.partitions import CLIP_SHARDS
from lafid_assets.schemas import RAW_CLIPS
from resources.settings import Settings
from resources.shard_store import ShardStore

HEADER = "clip_id,path,caption,aesthetic\n"


@pytest.fixture
def released(tmp_path: Path, write_video: Callable[..., Path]) -> Path:
    """OpenHumanVid's layout with a good clip and one of every bad kind."""
    root = tmp_path / "footage"
    clips = root / "clips"
    good = write_video(clips / "good.mp4", sound_s=1.0)
    (clips / "empty").write_bytes(b"")
    (clips / "cut").write_bytes(good.read_bytes()[:900])
    (clips / "spare.mp4").write_bytes(good.read_bytes() + b"spare")
    os.mkfifo(clips / "pipe")
    (clips / "out").symlink_to("/etc/hostname")
    rows = {
        "a-good": "clips/good",
        "b-empty": "clips/empty",
        "c-cut": "clips/cut",
        "d-missing": "clips/missing",
        "e-pipe": "clips/pipe",
        "f-out": "clips/out",
        "g-absolute": "/etc/hostname",
        "h-dots": "../../etc/hostname",
        "i-long": "x" * 300,
        "j-nowhere": "",
    }
    lines = [f"{name},{path},text of {name},5" for name, path in rows.items()]
    (root / "OpenHumanVid_part_001.csv").write_text(HEADER + "\n".join(lines))
    return root


def _manifest(root: Path) -> pl.DataFrame:
    return list_clips(root).with_columns(shard=pl.lit("shard-00000"))


def _good(rows: pl.DataFrame) -> dict[str, Any]:
    return rows.row(by_predicate=pl.col("clip_id") == "a-good", named=True)


def test_every_clip_ends_in_its_own_way(released: Path) -> None:
    found = {row["clip_id"]: row for row in probe_clips(_manifest(released)).iter_rows(named=True)}
    [spare] = [name for name in found if name[1] != "-"]
    endings = {name: (row["status"], row["reason"]) for name, row in found.items()}
    assert endings == {
        "a-good": ("ok", None),
        "b-empty": ("error", "empty_file"),
        "c-cut": ("error", "unreadable"),
        "d-missing": ("skipped", "file_missing"),
        "e-pipe": ("error", "not_a_file"),
        "f-out": ("error", "outside_root"),
        "g-absolute": ("error", "outside_root"),
        "h-dots": ("error", "outside_root"),
        "i-long": ("skipped", "file_missing"),
        "j-nowhere": ("error", "not_a_file"),
        spare: ("skipped", "no_row"),
    }
    assert RAW_CLIPS.violations(probe_clips(_manifest(released))) == {"schema": [], "unique_key": [], "values": []}
    assert all(row["detail"] for name, row in found.items() if name != "a-good")
    assert found["b-empty"]["content_sha256"] == content_sha256(released / "clips" / "empty")


def test_good_row_holds_table_and_file(released: Path) -> None:
    row = _good(probe_clips(_manifest(released)))
    path = released / "clips" / "good.mp4"
    assert row["content_sha256"] == content_sha256(path)
    assert row["file_size_bytes"] == path.stat().st_size
    assert (row["caption"], row["aesthetic"], row["path"]) == ("text of a-good", 5.0, "clips/good")
    assert (row["fps"], row["frame_count"], row["width"], row["height"], row["has_audio"]) == (10.0, 10, 64, 48, True)


@pytest.fixture
def materialize(settings: Settings, store: ShardStore) -> Callable[[], dict[str, Any]]:
    instance = dg.DagsterInstance.ephemeral()
    resources = build_defs(settings).resources

    def run() -> dict[str, Any]:
        shards = store.partitions(MANIFEST_TABLE)
        instance.add_dynamic_partitions(CLIP_SHARDS.name, shards)
        found = {}
        for shard in shards:
            result = dg.materialize([raw_clips], instance=instance, resources=resources, partition_key=shard)
            [event] = result.get_asset_materialization_events()
            found[shard] = event.materialization.metadata["computed"].value
        return found

    return run


def test_replaced_file_is_noticed_and_only_its_shard_is_probed_again(
    released: Path, store: ShardStore, settings: Settings, materialize: Callable[[], dict[str, Any]], write_video: Any
) -> None:
    register_clips(store, list_clips(released), 6, settings.shards_lock)
    assert materialize() == {"shard-00000": True, "shard-00001": True}
    assert materialize() == {"shard-00000": False, "shard-00001": False}

    write_video(released / "clips" / "good.mp4", seconds=2)
    assert list(materialize().values()).count(True) == 1
    assert store.read_all("raw_clips").filter(pl.col("clip_id") == "a-good")["duration_s"].to_list() == [2.0]

    write_video(released / "clips" / "missing.mp4")
    assert list(materialize().values()).count(True) == 1
    assert store.read_all("raw_clips").filter(pl.col("clip_id") == "d-missing")["status"].to_list() == ["ok"]


def test_probe_module_decodes_nothing() -> None:
    assert not hasattr(media_probe, "sample_frames")
