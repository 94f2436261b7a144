"""Runs that failed without having begun are asked for again, and no others."""

import uuid
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import RETRY_NUMBER_TAG, WILL_RETRY_TAG

from lafid_assets.runs.run_failure import FAILURE_TAG
from lafid_assets.steps.partitions import run_tags
from resources.settings import Settings
from sensors.lost_runs import LOST_TAG, lost_runs
from sensors.work import TRY

SHARDS = run_tags(["shard-1", "shard-2"])
OPS = {"ops": {"face_info": {"config": {"scan": False}}}}


@pytest.fixture
def tick(settings: Settings, instance: dg.DagsterInstance) -> Callable[[], Any]:
    return lambda: lost_runs(dg.build_sensor_context(instance=instance), settings=settings)


def _failed(instance: dg.DagsterInstance, *, begun: bool = False, job: str = "__ASSET_JOB", **tags: str) -> dg.DagsterRun:
    run = dg.DagsterRun(
        job_name=job,
        run_id=uuid.uuid4().hex,
        run_config=OPS,
        asset_selection=frozenset({dg.AssetKey("face_info")}) if job == "__ASSET_JOB" else None,
        tags=SHARDS | tags,
        status=dg.DagsterRunStatus.NOT_STARTED,
    )
    instance.add_run(run)
    for kind in [dg.DagsterEventType.RUN_START] * begun + [dg.DagsterEventType.RUN_FAILURE]:
        instance.report_dagster_event(dg.DagsterEvent(kind.value, job, message="by the test"), run.run_id)
    return run


def test_a_run_that_never_began_is_asked_for_again_as_it_was(tick: Callable[[], Any], instance: dg.DagsterInstance) -> None:
    lost = _failed(instance, **{TRY: "curate x 1", FAILURE_TAG: "lost", RETRY_NUMBER_TAG: "2"})
    [request] = tick().run_requests
    assert (request.run_key, request.asset_selection, request.run_config) == (lost.run_id, [dg.AssetKey("face_info")], OPS)
    assert request.tags == SHARDS | {TRY: "curate x 1", LOST_TAG: f"{lost.run_id} 1"}


def test_runs_that_began_or_come_again_or_make_no_asset_are_left(tick: Callable[[], Any], instance: dg.DagsterInstance) -> None:
    _failed(instance, begun=True)
    instance.add_run_tags(_failed(instance).run_id, {WILL_RETRY_TAG: "true"})
    _failed(instance, job="compact_lake")
    skipped = tick()
    assert isinstance(skipped, dg.SkipReason)
    assert skipped.skip_message == "no run was lost before it began"


def test_what_somebody_else_has_asked_for_is_not_asked_for_again(tick: Callable[[], Any], instance: dg.DagsterInstance) -> None:
    _failed(instance)
    same = {"job_name": "__ASSET_JOB", "asset_selection": frozenset({dg.AssetKey("face_info")})}
    instance.add_run(dg.DagsterRun(run_id=uuid.uuid4().hex, status=dg.DagsterRunStatus.NOT_STARTED, tags=SHARDS, **same))
    assert tick().run_requests == []


def test_it_is_not_asked_for_without_end(tick: Callable[[], Any], instance: dg.DagsterInstance, settings: Settings) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    (settings.home / "lafid.toml").write_text("[automation]\ntries = 2\n")
    _failed(instance, **{LOST_TAG: "first 1"})
    assert [request.tags[LOST_TAG] for request in tick().run_requests] == ["first 2"]
    _failed(instance, **{LOST_TAG: "first 2"})
    assert len(tick().run_requests) == 1


def test_all_shards_of_a_job_are_asked_for_by_their_assets(tick: Callable[[], Any], instance: dg.DagsterInstance) -> None:
    _failed(instance, job="precompute")
    [request] = tick().run_requests
    assert request.asset_selection == [dg.AssetKey("training_latents")]
