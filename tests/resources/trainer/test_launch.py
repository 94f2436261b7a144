"""What an installation may say of how the trainer is launched: shapes only, no cluster is asked."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from lafid_assets.definitions import build_defs
from resources.settings import PROJECT_ROOT, Settings
from resources.trainer.launch import LaunchConfig, LaunchUnusable

FILES = sorted((PROJECT_ROOT / "deploy").glob("launch.*.toml"))


def test_without_a_file_this_python_trains_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAFID_LAUNCH", raising=False)
    assert LaunchConfig.from_environment() == LaunchConfig()
    assert LaunchConfig().command(Path("job.json")) == [sys.executable, "-m", "resources.trainer.child", "job.json"]


def test_torchrun_runs_the_same_module() -> None:
    command = LaunchConfig(launcher=("torchrun", "--nproc-per-node", "8")).command(Path("job.json"))
    assert command == ["torchrun", "--nproc-per-node", "8", "-m", "resources.trainer.child", "job.json"]


def test_torchrun_is_found_where_no_environment_is_activated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    searched = LaunchConfig().environment()["PATH"]
    assert searched.endswith(f"{os.pathsep}/usr/bin")
    assert shutil.which("torchrun", path=searched) == str(Path(sys.executable).with_name("torchrun"))


def test_torchrun_gives_its_ranks_the_grace_of_the_launch_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the installed torch reads it."""
    from torch.distributed.launcher.api import LaunchConfig as TorchrunConfig

    for name, value in LaunchConfig(grace_s=89.5).environment().items():
        monkeypatch.setenv(name, value)
    assert TorchrunConfig(min_nodes=1, max_nodes=1, nproc_per_node=1).shutdown_timeout == 90


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_shipped_files_bring_the_run_to_its_machine(path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their tags are on the job as Dagster's run launchers read them: strings, tables as JSON."""
    monkeypatch.setenv("LAFID_LAUNCH", str(path))
    launch = LaunchConfig.from_environment()
    defs = build_defs(settings)
    assert defs.resources["trainer"].launch == launch
    tags = defs.resolve_job_def("train_and_register").run_tags
    assert launch.tags
    for name, value in launch.tags.items():
        assert tags[name] == value if isinstance(value, str) else json.loads(tags[name]) == value
    assert not launch.tags.keys() & defs.resolve_job_def("refresh_dataset").run_tags.keys()


def test_every_engine_has_a_file() -> None:
    assert {path.name for path in FILES} == {"launch.kubernetes.toml", "launch.ecs.toml", "launch.ray.toml"}


def test_ray_reads_what_the_shipped_file_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As dagster-ray reads tags; and the shipped dagster.yaml lets a cancelled training save its state."""
    from dagster._utils.tags import normalize_tags
    from dagster_ray.core.run_launcher import RayLauncherConfig

    monkeypatch.setenv("LAFID_LAUNCH", str(PROJECT_ROOT / "deploy" / "launch.ray.toml"))
    launch = LaunchConfig.from_environment()
    for tags in (launch.tags, launch.precompute_tags, launch.curation_tags):
        asked = RayLauncherConfig.from_tags(normalize_tags(tags))
        assert asked.num_cpus == tags[RAY]["num_cpus"]
        assert asked.num_gpus == tags[RAY].get("num_gpus")
    told = yaml.safe_load((PROJECT_ROOT / "deploy" / "dagster.ray.yaml").read_text())["run_launcher"]["config"]["ray"]
    launch.refuse_short_wait(told["env_vars"])


@pytest.mark.parametrize(
    ("env_vars", "waits_s"),
    [([], 3), (["RAY_JOB_STOP_WAIT_TIME_S=129"], 129), (["RAY_JOB_STOP_WAIT_TIME_S"], 60), (["RAY_JOB_STOP_WAIT_TIME_S=x"], 0)],
)
def test_a_ray_that_kills_before_the_state_is_saved_is_refused(
    env_vars: list[str], waits_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_JOB_STOP_WAIT_TIME_S", "60")
    complaint = f"Ray kills a cancelled run after {waits_s} s, .*: put RAY_JOB_STOP_WAIT_TIME_S=130 or more into env_vars"
    with pytest.raises(LaunchUnusable, match=f"dagster.yaml: {complaint}"):
        LaunchConfig().refuse_short_wait(env_vars)
    with pytest.raises(ValidationError, match=f"tags: env_vars takes the place of dagster.yaml's, and {complaint}"):
        LaunchConfig(tags={RAY: {"env_vars": env_vars}})
    LaunchConfig(precompute_tags={RAY: {"env_vars": env_vars}})
    LaunchConfig(tags={RAY: {"env_vars": ["RAY_JOB_STOP_WAIT_TIME_S=130"]}}).refuse_short_wait(env_vars)


K8S = "dagster-k8s/config"
RAY = "dagster-ray/config"


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"launcher": ()}, "at least 1"),
        ({"launcher": ("torchrun", " ")}, "an empty word"),
        ({"launcher": ("torchrun", "-m", "model.training.train")}, "without -m"),
        ({"launcher": ("torchrun", "--nnodes=2")}, "--nnodes needs --rdzv-endpoint"),
        ({"grace_s": 0}, "greater than 0"),
        ({"grace_s": True}, "grace_s\n  Input should be a valid number"),
        ({"tags": {K8S: {"pod_spec_config": 130}}}, "pod_spec_config of dagster-k8s/config must be a table"),
        ({"tags": {K8S: {"pod_spec_config": {"termination_grace_period_seconds": True}}}}, "after True s"),
        ({"tags": {RAY: {"env_vars": ["RAY_JOB_STOP_WAIT_TIME_S=nan"]}}}, "Ray kills a cancelled run after 0 s"),
        ({"tags": {"team": 3}}, "team must be a string"),
        ({"tags": {"ecs/cpu": "8 cores"}}, "ecs/cpu must be a number in quotes"),
        ({"tags": {"ecs/gpu": "1"}}, "EcsRunLauncher reads no ecs/gpu"),
        ({"tags": {"ecs/run_task_kwargs": []}}, "ecs/run_task_kwargs must be a table"),
        ({"tags": {K8S: "gpu"}}, "must be a table"),
        ({"precompute_tags": {K8S: "gpu"}}, "precompute_tags: .* must be a table"),
        ({"tags": {K8S: {"containers": {}}}}, "has no containers"),
        ({"tags": {K8S: {}}}, "Kubernetes kills the pod after 30 s, .* to at least 130"),
        ({"tags": {K8S: {"pod_spec_config": {"terminationGracePeriodSeconds": 129}}}}, "after 129 s"),
        ({"curation_tags": {RAY: "cpu"}}, "curation_tags: .* must be a table"),
        ({"curation_tags": {RAY: {"cpus": 4}}}, "dagster-ray/config has no cpus: its lines are env_vars, memory, num_cpus"),
        ({"tags": {RAY: {"num_gpus": "1"}}}, "num_gpus of dagster-ray/config must be a number above 0"),
        ({"tags": {RAY: {"num_cpus": 0}}}, "num_cpus of dagster-ray/config must be a number above 0"),
        ({"tags": {RAY: {"memory": 1e9}}}, "memory of dagster-ray/config must be a whole number of bytes"),
        ({"tags": {RAY: {"env_vars": "A=1"}}}, "env_vars of dagster-ray/config must be a list of NAME=VALUE"),
        ({"prefix": ["torchrun"]}, "Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        LaunchConfig(**wrong)


@pytest.mark.parametrize(
    "fine",
    [
        {"launcher": ("torchrun", "--nnodes=2", "--rdzv_endpoint=head:29500")},
        {"tags": {"team": "faces"}},
        {"precompute_tags": {K8S: {}}},
        {"curation_tags": {RAY: {"num_cpus": 0.5, "num_gpus": 0.25, "memory": 10**9}}},
        {"tags": {K8S: {"pod_spec_config": {"terminationGracePeriodSeconds": 130}}}},
        {"tags": {K8S: {"pod_spec_config": {"termination_grace_period_seconds": 130}}}},
    ],
)
def test_what_can_work_is_not(fine: dict[str, Any]) -> None:
    assert LaunchConfig(**fine).model_dump(include=set(fine)) == fine


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("launcher = [", "cannot read .*launch.toml .*: set LAFID_LAUNCH to a launch file"),
        ('grace_s = "long"', "launch.toml: grace_s: Input should be a valid number"),
        ('[tags]\n"ecs/gpu" = "1"', "launch.toml: tags: EcsRunLauncher reads no ecs/gpu"),
        (None, "cannot read .*launch.toml .*: set LAFID_LAUNCH to a launch file"),
    ],
)
def test_bad_file_is_one_line_that_names_it(
    text: str | None, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "launch.toml"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("LAFID_LAUNCH", str(path))
    with pytest.raises(LaunchUnusable, match=complaint):
        LaunchConfig.from_environment()
