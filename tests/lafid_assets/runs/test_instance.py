"""Dagster's instance takes the lake's shards and no others, and its runs ask for what they need."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml

from lafid_assets.runs.instance import Instance, is_cluster, keep_to_what_was_given
from lafid_assets.schemas import CLIP_FILES
from lafid_assets.steps.partitions import CLIP_SHARDS
from resources.cores import usable_cores
from resources.lake.lake import Lake
from resources.settings import PROJECT_ROOT, Settings
from resources.trainer.launch import RAY_TAG, LaunchUnusable

HELD = "shard-00000-aaaaaaaa"


@pytest.fixture
def instance(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The installation's own, as `dagster.yaml` names it."""
    settings.prepare()
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance, Instance)
        yield instance


def test_a_shard_without_clips_is_refused_and_nothing_of_the_request_is_kept(
    lake: Lake, instance: dg.DagsterInstance, row_of: Callable[..., dict[str, Any]]
) -> None:
    name = str(CLIP_SHARDS.name)
    lake.put({CLIP_FILES.name: CLIP_FILES.frame([row_of(CLIP_FILES, shard=HELD)])}, HELD, "f")
    with pytest.raises(Exception, match="no clips are in a shard shard-1: shards are made of files"):
        instance.add_dynamic_partitions(name, [HELD, "shard-1"])
    assert instance.get_dynamic_partitions(name) == []
    instance.add_dynamic_partitions(name, [HELD])
    assert instance.get_dynamic_partitions(name) == [HELD]


def test_a_home_without_a_lake_has_no_shards_and_gets_none(instance: dg.DagsterInstance) -> None:
    with pytest.raises(Exception, match="no clips are in a shard"):
        instance.add_dynamic_partitions(str(CLIP_SHARDS.name), [HELD])


def test_other_partitions_are_dagsters_own_affair(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("weeks", ["one"])
    assert instance.get_dynamic_partitions("weeks") == ["one"]


@pytest.fixture
def ray_instance(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Instance]:
    """One whose runs Ray launches; no head is asked."""
    told = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text())
    ray = yaml.safe_load((PROJECT_ROOT / "deploy" / "dagster.ray.yaml").read_text())
    ray["run_launcher"]["config"]["ray"] |= {"address": "http://127.0.0.1:9", "num_cpus": 2}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(told | {"run_launcher": ray["run_launcher"]}))
    monkeypatch.setenv("LAFID_DAGSTER_YAML", str(tmp_path / "dagster.yaml"))
    monkeypatch.setattr(dg.DagsterInstance, "submit_run", lambda self, run_id, workspace: self.get_run_by_id(run_id))
    settings.prepare()
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance, Instance)
        yield instance


def _run(instance: dg.DagsterInstance, *assets: str, job: str = "__ASSET_JOB", **tags: str) -> dg.DagsterRun:
    run = dg.DagsterRun(
        job_name=job,
        run_id=uuid.uuid4().hex,
        asset_selection=frozenset(dg.AssetKey(asset) for asset in assets) or None,
        tags={name.replace("__", "/"): value for name, value in tags.items()},
    )
    instance.add_run(run)
    return run


@pytest.mark.parametrize(
    ("assets", "job", "asked"),
    [
        (("face_info",), "__ASSET_JOB", {"num_cpus": 4}),
        ((), "curate_shard", {"num_cpus": 4}),
        (("model_evaluation",), "__ASSET_JOB", {"num_cpus": 8, "num_gpus": 1}),
        (("training_latents", "fusion_dit"), "__ASSET_JOB", {"num_cpus": 32, "num_gpus": 8}),
        ((), "refresh_dataset", None),
        ((), "compact_lake", None),
    ],
)
def test_every_run_asks_for_what_the_launch_file_says_whoever_asked_for_it(
    ray_instance: Instance, monkeypatch: pytest.MonkeyPatch, assets: tuple[str, ...], job: str, asked: dict[str, int] | None
) -> None:
    monkeypatch.setenv("LAFID_LAUNCH", str(PROJECT_ROOT / "deploy" / "launch.ray.toml"))
    tags = ray_instance.submit_run(_run(ray_instance, *assets, job=job).run_id, None).tags  # type: ignore[arg-type]
    assert (json.loads(tags[RAY_TAG]) if RAY_TAG in tags else None) == asked


def test_what_a_run_names_itself_it_keeps(ray_instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAFID_LAUNCH", str(PROJECT_ROOT / "deploy" / "launch.ray.toml"))
    run = _run(ray_instance, "face_info")
    ray_instance.add_run_tags(run.run_id, {RAY_TAG: '{"num_cpus": 1}'})
    assert ray_instance.submit_run(run.run_id, None).tags[RAY_TAG] == '{"num_cpus": 1}'  # type: ignore[arg-type]


def test_a_training_that_could_not_save_its_state_is_not_submitted(
    ray_instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "launch.toml").write_text("grace_s = 600\n")
    monkeypatch.setenv("LAFID_LAUNCH", str(tmp_path / "launch.toml"))
    with pytest.raises(LaunchUnusable, match="Ray kills a cancelled run after 160 s"):
        ray_instance.submit_run(_run(ray_instance, "fusion_dit").run_id, None)  # type: ignore[arg-type]
    ray_instance.submit_run(_run(ray_instance, "face_info").run_id, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("told", "cores", "gpus"), [(None, 2, ""), ('{"num_cpus": 1, "num_gpus": 1}', 1, "3"), ("{}", 2, "")])
def test_a_run_keeps_to_what_ray_gave_it(
    ray_instance: Instance, monkeypatch: pytest.MonkeyPatch, told: str | None, cores: int, gpus: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("LAFID_CPUS", "")
    tags = {} if told is None else {RAY_TAG: told}
    by_a_command: Any = SimpleNamespace(tags=tags, remote_job_origin=None)
    keep_to_what_was_given(ray_instance, by_a_command)
    assert (usable_cores(), os.environ["CUDA_VISIBLE_DEVICES"]) == (16, "3")
    launched: Any = SimpleNamespace(tags=tags, remote_job_origin="of a code location")
    keep_to_what_was_given(ray_instance, launched)
    assert (usable_cores(), os.environ["CUDA_VISIBLE_DEVICES"]) == (cores, gpus)


def test_a_run_of_one_machine_has_all_of_it(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAFID_CPUS", "")
    launched: Any = SimpleNamespace(tags={}, remote_job_origin="of a code location")
    keep_to_what_was_given(instance, launched)
    assert usable_cores() == len(os.sched_getaffinity(0))
    assert not is_cluster(instance)
