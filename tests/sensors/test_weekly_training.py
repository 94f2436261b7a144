"""A newer dataset is trained on, and none twice."""

import uuid
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from lafid_assets.schemas import DATASET_VERSIONS, FUSION_DIT, LAFID_DATASET
from lafid_assets.steps.partitions import CLIP_SHARDS
from resources.lake.lake import Lake
from resources.settings import Settings
from sensors.schedules import weekly_training

TRAINING = weekly_training("0 3 * * 6", {"kind": "gpu"})


@pytest.fixture
def look(lake: Lake, settings: Settings, instance: dg.DagsterInstance) -> Callable[[], Any]:
    return lambda: TRAINING(dg.build_schedule_context(instance=instance), lake=lake, settings=settings)


@pytest.fixture
def version(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """Makes a dataset version of a clip a shard."""

    def make(name: str, number: int, *shards: str) -> None:
        rows = [row_of(LAFID_DATASET, clip_id=shard, shard=shard, dataset_version=name) for shard in shards]
        told = {"dataset_version": name, "number": number, "settings_sha256": None}
        lake.put(
            {
                LAFID_DATASET.name: LAFID_DATASET.frame(rows),
                DATASET_VERSIONS.name: DATASET_VERSIONS.frame([row_of(DATASET_VERSIONS, **told)]),
            }
        )

    return make


@pytest.fixture
def trained(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> Callable[[str], None]:
    return lambda name: lake.put({FUSION_DIT.name: FUSION_DIT.frame([row_of(FUSION_DIT, dataset_version=name)])})


def _skipped(result: Any) -> str:
    assert isinstance(result, dg.SkipReason), result
    return str(result.skip_message)


def _run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, job: str, **tags: str) -> None:
    run_id = uuid.uuid4().hex
    instance.add_run(dg.DagsterRun(job_name=job, run_id=run_id, status=status, tags=tags))


def test_a_newer_dataset_is_precomputed_and_trained_on(
    look: Callable[[], Any], version: Any, trained: Any, instance: dg.DagsterInstance
) -> None:
    assert "no dataset is newer" in _skipped(look())
    version("v1", 1)
    assert _skipped(look()) == "the dataset has no clips"
    instance.add_dynamic_partitions(str(CLIP_SHARDS.name), ["s3", "s1", "s0"])
    version("v1", 1, "s1", "s2", "s3")
    request = look()
    assert (request.tags[ASSET_PARTITION_RANGE_START_TAG], request.tags[ASSET_PARTITION_RANGE_END_TAG]) == ("s3", "s2")
    assert instance.get_dynamic_partitions(str(CLIP_SHARDS.name)) == ["s3", "s1", "s0", "s2"], "in this order a run takes them"
    trained("v1")
    assert "no dataset is newer" in _skipped(look())
    version("v2", 2, "s1")
    assert isinstance(look(), dg.RunRequest)
    trained("v2")
    version("v1", 1, "s1", "s2", "s3")
    assert "no dataset is newer" in _skipped(look()), "an earlier version again is none that is newer"


def test_not_while_runs_wait_or_a_training_is_at_work(
    look: Callable[[], Any], version: Any, instance: dg.DagsterInstance
) -> None:
    version("v1", 1, "s1")
    _run(instance, dg.DagsterRunStatus.STARTED, "curate_shard")
    assert isinstance(look(), dg.RunRequest)
    _run(instance, dg.DagsterRunStatus.STARTED, "precompute")
    assert "1 runs are at" in _skipped(look())
    _run(instance, dg.DagsterRunStatus.NOT_STARTED, "curate_shard")
    assert _skipped(look()) == "1 runs wait in the queue"


def test_a_training_that_fails_is_left_to_a_person_until_something_changes(
    look: Callable[[], Any], version: Any, settings: Settings, instance: dg.DagsterInstance
) -> None:
    version("v1", 1, "s1")
    for _ in range(3):
        _run(instance, dg.DagsterRunStatus.FAILURE, "precompute_and_train", **look().tags)
    assert "training on dataset v1 did not get done in 3 tries" in _skipped(look())
    (settings.home / "lafid.toml").write_text("[fusion_dit]\nsteps = 7\n")
    assert isinstance(look(), dg.RunRequest), "other settings"
    (settings.home / "lafid.toml").unlink()
    version("v2", 2, "s1")
    assert isinstance(look(), dg.RunRequest), "another dataset"


def test_off_by_default_and_runs_where_the_gpu_is() -> None:
    assert TRAINING.default_status == dg.DefaultScheduleStatus.STOPPED
    assert (TRAINING.job_name, TRAINING.cron_schedule) == ("precompute_and_train", "0 3 * * 6")
    assert TRAINING.job.tags["kind"] == "gpu"
