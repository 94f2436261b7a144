"""What fell through is found, and said with a remedy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lafid_assets import health
from lafid_assets.health import find_faults
from lafid_assets.jobs import check_health
from lafid_assets.lake import open_lake
from lafid_assets.release.promotion import at_registry
from lafid_assets.schemas import CLIP_FILES, DATASET_REPORT, FUSION_DIT, REFERENCE_CROPS, REGISTERED_MODEL, TRAINING_LATENTS
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.tracking import Tracking

SHARD = "shard-00000-00000000"


@pytest.fixture
def away(settings: Settings) -> Tracking:
    """A registry that nothing was ever written to, and that nobody asks."""
    return Tracking("http://127.0.0.1:9", settings.mlflow_artifacts)


def test_a_store_without_anything_has_no_faults(settings: Settings, away: Tracking) -> None:
    assert find_faults(open_lake(settings), away, {}) == []
    assert not settings.home.exists()


def test_shards_that_were_never_finished_are_found_after_a_day(
    lake: Lake, away: Tracking, row_of: Callable[..., dict[str, Any]]
) -> None:
    for shard in (SHARD, "shard-00001-00000000"):
        lake.put({CLIP_FILES.name: CLIP_FILES.frame([row_of(CLIP_FILES, shard=shard)])}, shard, "f")
    assert find_faults(lake, away, {}) == [], "they came just now"
    older = f"UPDATE partitions SET written_at = now() - INTERVAL 2 DAY WHERE partition = '{SHARD}'"
    lake.commit(lambda writer: writer.cursor.execute(older))
    told = (
        f"1 shards came more than a day ago and are not finished, {SHARD} from raw_clips on: read their runs and materialize them"
    )
    assert find_faults(lake, away, {}) == [told]
    with lake.leases.held(f"face_info/{SHARD}"):
        assert find_faults(lake, away, {}) == [], "they are at it"


def test_files_that_rows_name_are_looked_for(lake: Lake, away: Tracking, row_of: Callable[..., dict[str, Any]]) -> None:
    crops = [row_of(REFERENCE_CROPS, reference_index=n, face_path=f"crops/aa/{n}.png") for n in range(5)]
    part = {"part": "video", "key": "k", "shard": "aa/video-0.safetensors"}
    lake.put({REFERENCE_CROPS.name: REFERENCE_CROPS.frame(row | {"shard": SHARD} for row in crops)}, SHARD)
    lake.put({TRAINING_LATENTS.name: TRAINING_LATENTS.frame([row_of(TRAINING_LATENTS, shard=SHARD, parts=[part])])}, SHARD)
    lake.put({FUSION_DIT.name: FUSION_DIT.frame([row_of(FUSION_DIT, checkpoint_path="runs/x")])})
    lake.put({DATASET_REPORT.name: DATASET_REPORT.frame([row_of(DATASET_REPORT, dataset_version="v")])})
    store = lake.store
    for path in ("crops/aa/0.png", "latents/shards/aa/video-0.safetensors", "runs/x/lafid.json", "reports/v/report.html"):
        store.write_bytes(path, b"x")
    lost = "4 of 5 files that reference_crops names are gone from the store"
    first_few = "crops/aa/1.png, crops/aa/2.png, crops/aa/3.png and 1 more"
    assert find_faults(lake, away, {}) == [f"{lost}, {first_few}: materialize reference_crops again"]
    for number in range(1, 5):
        store.write_bytes(f"crops/aa/{number}.png", b"x")
    assert find_faults(lake, away, {}) == []
    for path in ("latents/shards/aa/video-0.safetensors", "runs/x/lafid.json", "reports/v/report.html"):
        store.remove(path)
    assert [fault.partition(" are gone")[0] for fault in find_faults(lake, away, {})] == [
        f"1 of 1 files that {asset} names" for asset in ("training_latents", "fusion_dit", "dataset_report")
    ]


def test_files_of_tables_are_looked_for(lake: Lake, away: Tracking, row_of: Callable[..., dict[str, Any]]) -> None:
    rows = [row_of(CLIP_FILES, shard=SHARD, path=str(n)) for n in range(500)]  # fewer lie in the catalog itself
    lake.put({CLIP_FILES.name: CLIP_FILES.frame(rows)}, SHARD, "f")
    for path in lake.store.list_tree("tables/main/clip_files"):
        lake.store.remove(path)
    [fault] = find_faults(lake, away, {})
    assert fault == "1 files of tables are gone from the store, of clip_files (1): bring them back from a copy of the store"


def test_the_registry_is_held_against_the_tables(
    lake: Lake, tracking: Tracking, register_version: Callable[..., str], row_of: Callable[..., dict[str, Any]], away: Tracking
) -> None:
    register_version("one")
    with at_registry(lake, tracking, "lafid") as registry:
        registry.promote("1", how="promote", why="", judgement_id=None)
    for checkpoint in ("one", "two"):
        row = row_of(REGISTERED_MODEL, model_name="lafid", model_uri="models:/lafid/7", checkpoint_sha256=checkpoint)
        lake.put({REGISTERED_MODEL.name: REGISTERED_MODEL.frame([row])})
        *lost, without_files = find_faults(lake, tracking, {})
        assert without_files.startswith("models:/lafid/1 (champion) has no files in the registry")
        assert [fault.partition(" is not in")[0] for fault in lost] == ["models:/lafid/7 of registered_model"] * (
            checkpoint == "two"
        )
    assert "MLflow at http://127.0.0.1:9 does not answer" in find_faults(lake, away, {})[0]


def test_the_job_fails_with_what_was_found(
    lake: Lake, settings: Settings, away: Tracking, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resources = {"lake": lake, "settings": settings, "tracking": away}
    assert check_health.execute_in_process(resources=resources).success
    monkeypatch.setattr(health, "find_faults", lambda *_: ["one thing", "another"])
    done = check_health.execute_in_process(resources=resources, raise_on_error=False)
    [failure] = done.get_step_failure_events()
    assert failure.step_failure_data.user_failure_data.description == "2 faults: one thing; another"
    with pytest.raises(dg.Failure, match="2 faults: one thing; another"):
        check_health.execute_in_process(resources=resources)
