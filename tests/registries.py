"""A plugin of the tests: a registry in the home of `settings`, made once a test run and copied: MLflow takes seconds to make its
tables."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from resources.settings import Settings
from resources.tracking import CHECKPOINT_TAG, EXPERIMENT, Tracking
from tests.once import built_once


@pytest.fixture
def tracking(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """An empty registry."""

    def build(folder: Path) -> None:
        (folder / "artifacts").mkdir(parents=True)
        Tracking(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts").open_experiment()
        del os.environ["MLFLOW_TRACKING_URI"]  # which MLflow sets, and `settings` reads

    built = built_once(tmp_path_factory, "empty registry", build)
    shutil.copytree(built, settings.home / "mlflow", dirs_exist_ok=True)
    return Tracking(settings.mlflow_uri, settings.mlflow_artifacts)


@pytest.fixture
def register_version(tracking: Tracking) -> Any:
    """Registers a bare LoggedModel with these tags as the next version of `lafid`; its number."""

    def go(checkpoint_sha256: str, **tags: str) -> str:
        client = tracking.connect()
        bare = client.create_logged_model(client.get_experiment_by_name(EXPERIMENT).experiment_id, name="lafid")
        client.finalize_logged_model(bare.model_id, "READY")
        if tracking.registered_model("lafid") is None:
            client.create_registered_model("lafid")
        all_tags = {CHECKPOINT_TAG: checkpoint_sha256, **tags}
        return str(client.create_model_version("lafid", f"models:/{bare.model_id}", tags=all_tags).version)

    return go
