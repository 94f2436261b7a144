"""How the trainer is launched: on this machine, on all its GPUs, or in a cluster's pod or task. Configuration, not code.

Belongs here: what an installation may say of it, checked before anything runs. Not here: processes (`supervisor`), the job.

Ray, Kubernetes and ECS move the whole run, trainer included, by tags of the run that their run launchers read (`RayRunLauncher`,
`K8sRunLauncher`, `EcsRunLauncher` in dagster.yaml). Tags are checked for shape; **of Kubernetes and ECS no cluster was there to
test them on.**
"""

import math
import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from model.strict import StrictModel

ENVIRONMENT = "LAFID_LAUNCH"
TORCHRUN_GRACE = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
K8S_TAG = "dagster-k8s/config"
K8S_SECTIONS = frozenset(
    {
        "container_config",
        "pod_spec_config",
        "pod_template_spec_metadata",
        "job_spec_config",
        "job_metadata",
        "job_config",
        "merge_behavior",
    }
)
K8S_GRACE = ("termination_grace_period_seconds", "terminationGracePeriodSeconds")
ECS_NUMBERS = frozenset({"ecs/cpu", "ecs/memory", "ecs/ephemeral_storage"})
ECS_TABLES = frozenset({"ecs/task_overrides", "ecs/container_overrides", "ecs/run_task_kwargs"})
RAY_TAG = "dagster-ray/config"
RAY_AMOUNTS = frozenset({"num_cpus", "num_gpus", "memory"})
RAY_LINES = RAY_AMOUNTS | {"resources", "runtime_env", "env_vars"}
RAY_WAIT, RAY_WAITS_S = "RAY_JOB_STOP_WAIT_TIME_S", 3.0
"""How long Ray waits between SIGTERM and SIGKILL of a job and of all its descendants, and what it waits unless told so."""
SECONDS_AFTER_GRACE = 10.0
"""What Dagster needs to record a run's end when the trainer has taken all its grace."""


class LaunchUnusable(ValueError):
    """The launch file cannot be read or says something impossible; the message names it and the remedy."""


class LaunchConfig(StrictModel):
    """What runs the trainer, how long it may take to save, and the tags that bring the run to its machine."""

    launcher: tuple[str, ...] = Field(
        (sys.executable,),
        min_length=1,
        description="what runs `-m resources.trainer.child JOB`: this Python, or [torchrun, --nproc-per-node, 8]. It must pass "
        "SIGTERM on to the ranks, as torchrun does, and wait for them",
    )
    grace_s: float = Field(
        120.0, gt=0, le=3600, strict=True, description="seconds between SIGTERM and SIGKILL, in which the state is saved"
    )
    tags: dict[str, Any] = Field(
        default_factory=dict, description="of the runs that train: what RayRunLauncher, K8sRunLauncher or EcsRunLauncher reads"
    )
    precompute_tags: dict[str, Any] = Field(
        default_factory=dict, description="of the runs of precompute and of evaluations, which take one GPU each"
    )
    curation_tags: dict[str, Any] = Field(default_factory=dict, description="of the runs that curate shards")

    @field_validator("launcher")
    @classmethod
    def _words(cls, launcher: tuple[str, ...]) -> tuple[str, ...]:
        if not all(word.strip() for word in launcher):
            raise ValueError("an empty word: write every argument as a string of its own")
        if any(word in ("-m", "--module") for word in launcher):
            raise ValueError("without -m: the trainer's module is added")
        options = {word.partition("=")[0].replace("_", "-"): word for word in launcher}
        if "--nnodes" in options and not {"--rdzv-endpoint", "--master-addr"} & options.keys():
            raise ValueError("--nnodes needs --rdzv-endpoint (or --master-addr), where the nodes meet")
        return launcher

    @model_validator(mode="after")
    def _tags_fit(self) -> Self:
        """Only training needs grace: precomputing and curation lose little to a kill."""
        of_runs = {"tags": self.tags, "precompute_tags": self.precompute_tags, "curation_tags": self.curation_tags}
        for where, tags in of_runs.items():
            needed_s = self.grace_s + SECONDS_AFTER_GRACE if where == "tags" else 0.0
            for name, value in tags.items():
                if name.startswith("ecs/"):
                    _check_ecs(where, name, value)
                elif name == K8S_TAG:
                    _check_k8s(where, value, needed_s)
                elif name == RAY_TAG:
                    _check_ray(where, value, needed_s)
                elif not isinstance(value, str):
                    raise ValueError(f"{where}: {name} must be a string")
        return self

    @classmethod
    def from_environment(cls) -> "LaunchConfig":
        """What the TOML file in `LAFID_LAUNCH` says; without one, a process of this Python on this machine.

        Raises:
            LaunchUnusable: the file cannot be read, or says something impossible.
        """
        path = os.environ.get(ENVIRONMENT)
        if not path:
            return cls()
        try:
            return cls(**tomllib.loads(Path(path).expanduser().read_text()))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise LaunchUnusable(f"cannot read {path} ({error}): set {ENVIRONMENT} to a launch file as in deploy/") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise LaunchUnusable(
                f"{path}: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
            ) from error

    def refuse_short_wait(self, env_vars: Sequence[str]) -> None:
        """See that Ray lets a cancelled training save its state.

        Args:
            env_vars: of RayRunLauncher in dagster.yaml, each `NAME=VALUE`, or a NAME whose value is the daemon's own.

        Raises:
            LaunchUnusable: it kills the run before.
        """
        waits_s, needed_s = _ray_waits_s(env_vars), self.grace_s + SECONDS_AFTER_GRACE
        if "env_vars" not in self.tags.get(RAY_TAG, {}) and waits_s < needed_s:
            raise LaunchUnusable(f"dagster.yaml: {_too_short(waits_s, needed_s)}")

    def environment(self) -> dict[str, str]:
        """The launcher's: torchrun gives its ranks 30 s after SIGTERM unless this, or its --shutdown-timeout, says otherwise, and
        is looked for beside this Python first, for the environment need not be activated."""
        places = [str(Path(sys.executable).parent), *filter(None, [os.environ.get("PATH")])]
        return {TORCHRUN_GRACE: str(math.ceil(self.grace_s)), "PATH": os.pathsep.join(places)}

    def command(self, job_file: Path) -> list[str]:
        """The trainer's command line."""
        return [*self.launcher, "-m", "resources.trainer.child", str(job_file)]


def _check_ecs(where: str, name: str, value: Any) -> None:
    if name in ECS_NUMBERS:
        if not (isinstance(value, str) and value.isdigit()):
            raise ValueError(f'{where}: {name} must be a number in quotes, such as "8192"')
    elif name not in ECS_TABLES:
        raise ValueError(f"{where}: EcsRunLauncher reads no {name}: choose of {', '.join(sorted(ECS_NUMBERS | ECS_TABLES))}")
    elif not isinstance(value, dict | list) or (name == "ecs/run_task_kwargs" and isinstance(value, list)):
        raise ValueError(f"{where}: {name} must be a table")


def _check_ray(where: str, value: Any, needed_s: float) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: {RAY_TAG} must be a table")
    if unknown := set(value) - RAY_LINES:
        raise ValueError(f"{where}: {RAY_TAG} has no {', '.join(sorted(unknown))}: its lines are {', '.join(sorted(RAY_LINES))}")
    for name in sorted(RAY_AMOUNTS & set(value)):
        if isinstance(value[name], bool) or not isinstance(value[name], int | float) or value[name] <= 0:
            raise ValueError(f"{where}: {name} of {RAY_TAG} must be a number above 0")
    if not isinstance(value.get("memory", 1), int):
        raise ValueError(f"{where}: memory of {RAY_TAG} must be a whole number of bytes")
    env_vars = value.get("env_vars", [])
    if not isinstance(env_vars, list) or not all(isinstance(one, str) for one in env_vars):
        raise ValueError(f"{where}: env_vars of {RAY_TAG} must be a list of NAME=VALUE")
    if "env_vars" in value and (waits_s := _ray_waits_s(env_vars)) < needed_s:
        raise ValueError(f"{where}: env_vars takes the place of dagster.yaml's, and {_too_short(waits_s, needed_s)}")


def _ray_waits_s(env_vars: Sequence[str]) -> float:
    told = dict(one.partition("=")[::2] for one in env_vars)
    value = told.get(RAY_WAIT) or (os.environ.get(RAY_WAIT) if RAY_WAIT in told else None)
    try:
        waits_s = float(value or RAY_WAITS_S)
    except ValueError:
        return 0.0
    return waits_s if math.isfinite(waits_s) else 0.0


def _too_short(waits_s: float, needed_s: float) -> str:
    return (
        f"Ray kills a cancelled run after {waits_s:.0f} s, before the trainer's state is saved: put {RAY_WAIT}={needed_s:.0f} or "
        f"more into env_vars (grace_s and {SECONDS_AFTER_GRACE:.0f} s more), or lower grace_s"
    )


def _check_k8s(where: str, value: Any, needed_s: float) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: {K8S_TAG} must be a table")
    if unknown := set(value) - K8S_SECTIONS:
        raise ValueError(
            f"{where}: {K8S_TAG} has no {', '.join(sorted(unknown))}: its sections are {', '.join(sorted(K8S_SECTIONS))}"
        )
    pod = value.get("pod_spec_config", {})
    if not isinstance(pod, dict):
        raise ValueError(f"{where}: pod_spec_config of {K8S_TAG} must be a table")
    given = next((pod[name] for name in K8S_GRACE if name in pod), 30)
    if isinstance(given, bool) or not isinstance(given, int) or given < needed_s:
        raise ValueError(
            f"{where}: Kubernetes kills the pod after {given} s, before the trainer's state is saved: set pod_spec_config."
            f"{K8S_GRACE[0]} to at least {needed_s:.0f} (grace_s and {SECONDS_AFTER_GRACE:.0f} s more), or lower grace_s"
        )
