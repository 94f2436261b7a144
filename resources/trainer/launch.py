"""How the trainer is launched: on this machine, on all its GPUs, or in a cluster's pod or task. Configuration, not code.

Belongs here: what an installation may say of it, checked before anything runs. Not here: processes (`supervisor`), the job.

Kubernetes and ECS move the whole run, trainer included, by tags of the run that Dagster's own run launchers read
(`K8sRunLauncher`, `EcsRunLauncher` in dagster.yaml). Their tags are checked for shape; **no cluster was there to test them on.**
"""

import math
import os
import sys
import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

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
SECONDS_AFTER_GRACE = 10.0
"""What Dagster needs to record a run's end when the trainer has taken all its grace."""


class LaunchUnusable(ValueError):
    """The launch file cannot be read or says something impossible; the message names it and the remedy."""


class LaunchConfig(BaseModel):
    """What runs the trainer, how long it may take to save, and the tags that bring the run to its machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    launcher: tuple[str, ...] = Field(
        (sys.executable,),
        min_length=1,
        description="what runs `-m resources.trainer.child JOB`: this Python, or [torchrun, --nproc-per-node, 8]. It must pass "
        "SIGTERM on to the ranks, as torchrun does, and wait for them",
    )
    grace_s: float = Field(120.0, gt=0, le=3600, description="seconds between SIGTERM and SIGKILL, in which the state is saved")
    tags: dict[str, Any] = Field(
        default_factory=dict, description="of the runs of train_and_register: what K8sRunLauncher and EcsRunLauncher read"
    )
    precompute_tags: dict[str, Any] = Field(
        default_factory=dict, description="of the runs of precompute, which take one GPU each"
    )

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
        """Precomputing loses little to a kill and asks for no grace."""
        wanted_s = self.grace_s + SECONDS_AFTER_GRACE
        for where, tags, needed_s in (("tags", self.tags, wanted_s), ("precompute_tags", self.precompute_tags, 0.0)):
            for name, value in tags.items():
                if name.startswith("ecs/"):
                    _check_ecs(where, name, value)
                elif name == K8S_TAG:
                    _check_k8s(where, value, needed_s)
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


def _check_k8s(where: str, value: Any, needed_s: float) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: {K8S_TAG} must be a table")
    if unknown := set(value) - K8S_SECTIONS:
        raise ValueError(
            f"{where}: {K8S_TAG} has no {', '.join(sorted(unknown))}: its sections are {', '.join(sorted(K8S_SECTIONS))}"
        )
    pod = value.get("pod_spec_config", {})
    given = next((pod[name] for name in K8S_GRACE if name in pod), 30)
    if not isinstance(given, int) or given < needed_s:
        raise ValueError(
            f"{where}: Kubernetes kills the pod after {given} s, before the trainer's state is saved: set pod_spec_config."
            f"{K8S_GRACE[0]} to at least {needed_s:.0f} (grace_s and {SECONDS_AFTER_GRACE:.0f} s more), or lower grace_s"
        )
