"""MLflow: where models are registered and pulled from. Imported only while it is used: it costs seconds.

Belongs here: the registry's address and the few questions that we ask of it. Not here: packaging a checkpoint (`model.package`).
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXPERIMENT = "lafid"
CHECKPOINT_TAG = "lafid.checkpoint_sha256"


@dataclass(frozen=True)
class RegisteredVersion:
    """A version in the registry."""

    name: str
    version: str

    @property
    def uri(self) -> str:
        """What to pull."""
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True)
class Tracking:
    """An MLflow tracking store and registry.

    Attributes:
        uri: `sqlite:///...` on one machine, `http://...` for a team.
        artifacts: where the local store keeps artifacts; a server decides for itself.
    """

    uri: str
    artifacts: Path

    @property
    def is_there(self) -> bool:
        """Whether the local store has been made; of a server it is taken for granted."""
        return not self.uri.startswith("sqlite:///") or Path(self.uri.removeprefix("sqlite:///")).is_file()

    def connect(self) -> Any:
        """MLflow's client, with the experiment made on first use."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
        import mlflow

        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # every new database tells of its migrations
        mlflow.set_tracking_uri(self.uri)
        if mlflow.get_experiment_by_name(EXPERIMENT) is None:
            location = self.artifacts.as_uri() if self.uri.startswith("sqlite:") else None
            mlflow.create_experiment(EXPERIMENT, artifact_location=location)
        mlflow.set_experiment(EXPERIMENT)
        return mlflow.MlflowClient()

    def find_version(self, name: str, checkpoint_sha256: str) -> RegisteredVersion | None:
        """The version that holds this checkpoint, if there is one."""
        found = self.connect().search_model_versions(f"name = '{name}'")
        tagged = [v for v in found if v.tags.get(CHECKPOINT_TAG) == checkpoint_sha256]
        return RegisteredVersion(name, str(max(tagged, key=lambda v: int(v.version)).version)) if tagged else None

    def version_of_alias(self, name: str, alias: str) -> str | None:
        """The version that an alias points to; None when there is no such model or alias."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self.connect().get_model_version_by_alias(name, alias).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
