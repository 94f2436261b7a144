"""The instance files: they load, the S3 one puts a run's output into the bucket, and the Ray one lets a trainer end in peace."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from resources.settings import PROJECT_ROOT, Settings
from resources.trainer.launch import LaunchConfig
from resources.trainer.supervisor import KILL_PATIENCE_S

S3_YAML = PROJECT_ROOT / "deploy" / "dagster.s3.yaml"
RAY_YAML = PROJECT_ROOT / "deploy" / "dagster.ray.yaml"
OF_A_CLUSTER = {"storage", "run_launcher", "concurrency", "run_queue", "run_monitoring", "run_retries"}
LONGEST_END_S = LaunchConfig().grace_s + KILL_PATIENCE_S
"""How long a trainer may outlive its worker; a pool slot that is free before lets a second trainer onto its GPU."""


@dg.asset
def talkative() -> None:
    print("a line for the bucket")


@pytest.fixture
def s3_instance(bucket: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("LAFID_DAGSTER_YAML", str(S3_YAML))
    monkeypatch.setenv("LAFID_LOGS_BUCKET", bucket)
    settings.prepare()
    with dg.DagsterInstance.get() as instance:
        yield instance


def test_output_of_a_run_lands_in_the_bucket(s3_instance: dg.DagsterInstance, bucket: str) -> None:
    import boto3
    from dagster_aws.s3.compute_log_manager import S3ComputeLogManager

    assert isinstance(s3_instance.compute_log_manager, S3ComputeLogManager)
    assert dg.materialize([talkative], instance=s3_instance).success

    client = boto3.client("s3")
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    assert keys
    assert all(key.startswith("lafid/storage/") for key in keys)
    bodies = [client.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys]
    assert any("a line for the bucket" in body for body in bodies)


def test_local_instance_loads_with_the_guarded_settings(settings: Settings) -> None:
    settings.prepare()
    with dg.DagsterInstance.get() as instance:
        assert Path(instance.root_directory) == settings.dagster_home
        assert instance.get_settings("run_monitoring")["free_slots_after_run_end_seconds"] > LONGEST_END_S
        assert instance.get_settings("run_monitoring")["cancel_timeout_seconds"] > LONGEST_END_S
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
        assert not instance.telemetry_enabled
        assert "lafid" in instance.managed_python_loggers


def test_both_files_differ_only_in_where_output_goes() -> None:
    local = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text())
    remote = yaml.safe_load(S3_YAML.read_text())
    assert set(remote) - set(local) == {"compute_logs"}
    assert {name: remote[name] for name in local} == local


def test_the_file_of_a_cluster_differs_only_in_what_a_cluster_needs() -> None:
    local, cluster = (yaml.safe_load(path.read_text()) for path in (PROJECT_ROOT / "dagster.yaml", RAY_YAML))
    assert {name for name in local.keys() | cluster.keys() if local.get(name) != cluster.get(name)} <= OF_A_CLUSTER


def test_a_cluster_lets_a_trainer_end_and_tries_lost_machines_again_alone() -> None:
    told = yaml.safe_load(RAY_YAML.read_text())
    [wait] = [line for line in told["run_launcher"]["config"]["ray"]["env_vars"] if line.startswith("RAY_JOB_STOP_WAIT_TIME_S=")]
    assert int(wait.partition("=")[2]) > LONGEST_END_S
    assert told["run_monitoring"]["cancel_timeout_seconds"] > LONGEST_END_S
    assert told["run_monitoring"]["free_slots_after_run_end_seconds"] > LONGEST_END_S
    assert told["run_retries"]["max_retries"] > 0
    assert not told["run_retries"]["retry_on_asset_or_op_failure"]
    assert "default_limit" not in told["concurrency"]["pools"]  # one place in the whole cluster would be one node's work
