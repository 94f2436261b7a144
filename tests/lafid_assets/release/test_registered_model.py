"""`registered_model` with a real MLflow registry; only the packaging of the checkpoint is stood in for."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest

import model.release.package
from lafid_assets.release.registered_model import registered_model
from lafid_assets.schemas import FUSION_DIT, LAFID_DATASET, MODEL_EVALUATION
from resources.lake import Lake
from resources.settings import Settings
from resources.tracking import CHECKPOINT_TAG, EXPERIMENT, RegisteredVersion, Tracking

GOOD = {"flow_loss": 0.7, "first_frame_psnr_db": 35.0, "likeness": None}


class Registry:
    """The asset on an installation, and what the registry holds afterwards."""

    def __init__(self, settings: Settings, lake: Lake, row_of: Callable[..., dict[str, Any]]) -> None:
        settings.mlflow_artifacts.mkdir(parents=True)
        self.lake, self.row_of = lake, row_of
        self.tracking = Tracking(settings.mlflow_uri, settings.mlflow_artifacts)
        self.instance = dg.DagsterInstance.ephemeral()
        clip = row_of(LAFID_DATASET, licence="CC-BY-NC-ND-4.0", engine_licence="non-commercial")
        lake.put({"lafid_dataset": LAFID_DATASET.frame([clip])}, "all", "f")

    def put(self, checkpoint: str, measures: dict[str, float | None] = GOOD) -> None:
        known = {"checkpoint_sha256": checkpoint, "dataset_version": "v1", "loss_before": 1.0, "loss_after": 0.5}
        rows = [
            self.row_of(MODEL_EVALUATION, checkpoint_sha256=checkpoint, split="test", metric=name, value=value)
            for name, value in measures.items()
        ]
        self.lake.put({"fusion_dit": FUSION_DIT.frame([self.row_of(FUSION_DIT, preset="tiny", **known)])}, "all", "f")
        self.lake.put({"model_evaluation": MODEL_EVALUATION.frame(rows)}, "all", "f")

    def run(self) -> dict[str, Any] | None:
        resources = {"lake": self.lake, "tracking": self.tracking}
        done = dg.materialize([registered_model], instance=self.instance, resources=resources, raise_on_error=False)
        return self.lake.read("registered_model").row(0, named=True) if done.success else None

    @property
    def versions(self) -> list[Any]:
        return sorted(self.tracking.connect().search_model_versions("name = 'lafid'"), key=lambda v: int(v.version))

    @property
    def champion(self) -> str | None:
        return self.tracking.version_of_alias("lafid", "champion")


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was asked to be logged; a bare logged model stands in for the package."""
    import mlflow

    calls: list[dict[str, Any]] = []

    def log_checkpoint(checkpoint: Any, base: Any, **what: Any) -> Any:
        calls.append(what)
        bare = mlflow.initialize_logged_model(name=what["name"])
        mlflow.finalize_logged_model(bare.model_id, "READY")
        return model.release.package.LoggedCheckpoint(f"models:/{bare.model_id}", bare.model_id, "run")

    monkeypatch.setattr(model.release.package, "log_checkpoint", log_checkpoint)
    return calls


@pytest.fixture
def registry(settings: Settings, lake: Lake, row_of: Any, logged: list[Any]) -> Registry:
    return Registry(settings, lake, row_of)


def test_life_of_a_registered_model(registry: Registry, logged: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """One registry for all of it: making one costs seconds."""
    assert registry.tracking.find_version("lafid", "one") is None
    assert registry.champion is None

    # A run that is killed between the registration and the alias ...
    registry.put("one")
    with monkeypatch.context() as patch:

        def killed(*_: str) -> None:
            raise RuntimeError("killed")

        patch.setattr(model.release.package, "set_alias", killed)
        assert registry.run() is None
    assert [str(version.version) for version in registry.versions] == ["1"]
    assert registry.champion is None

    # ... is finished by the next, without a second version.
    row = registry.run()
    assert row == {
        "model_name": "lafid",
        "model_version": "1",
        "alias": "champion",
        "model_uri": "models:/lafid/1",
        "gate": "passed",
        "checkpoint_sha256": "one",
        "dataset_version": "v1",
    }
    assert registry.champion == "1"
    assert len(logged) == 1
    tags = registry.versions[0].tags
    assert (tags[CHECKPOINT_TAG], tags["lafid.dataset_version"], tags["lafid.gate"]) == ("one", "v1", "passed")
    assert tags["lafid.licences"] == "CC-BY-NC-ND-4.0, non-commercial"
    assert tags["dagster.run_id"]
    assert logged[0]["metrics"] == {
        "test_flow_loss": 0.7,
        "test_first_frame_psnr_db": 35.0,
        "loss_before": 1.0,
        "loss_after": 0.5,
    }

    # The same again changes nothing.
    assert registry.run() == row
    assert len(registry.versions) == len(logged) == 1
    assert registry.tracking.find_version("lafid", "one") == RegisteredVersion("lafid", "1")

    # A checkpoint that does not reach the bounds is registered, but the champion stays.
    registry.put("two", GOOD | {"first_frame_psnr_db": 10.0})
    second = registry.run()
    assert second is not None
    assert (second["model_version"], second["alias"]) == ("2", None)
    assert second["gate"] == "first frame PSNR is 10.0 dB, not at least 30.0"
    assert registry.champion == "1"

    # An alias that was taken away comes back; a version that is gone is made anew.
    registry.put("one")
    assert registry.run() == row
    registry.tracking.connect().delete_registered_model_alias("lafid", "champion")
    registry.run()
    assert registry.champion == "1"
    registry.tracking.connect().delete_model_version("lafid", "1")
    third = registry.run()
    assert third is not None
    assert third["model_version"] == "3"

    # What the training has logged is what is registered: its run, its tags, and the measures beside its own.
    client = registry.tracking.connect()
    training = client.create_run(client.get_experiment_by_name(EXPERIMENT).experiment_id).info
    tags = {CHECKPOINT_TAG: "four", "dagster.run_id": "of the training"}
    known = client.create_logged_model(training.experiment_id, name="s", source_run_id=training.run_id, tags=tags)
    client.finalize_logged_model(known.model_id, "READY")
    calls = len(logged)
    registry.put("four")
    fourth = registry.run()
    assert fourth is not None
    assert len(logged) == calls
    version = registry.versions[-1]
    assert (str(version.version), version.source, version.run_id) == ("4", f"models:/{known.model_id}", training.run_id)
    described = client.get_logged_model(known.model_id)
    assert described.tags["dagster.run_id"] == "of the training"
    assert described.tags["lafid.gate"] == "passed"
    assert {metric.key: metric.value for metric in described.metrics}["test_flow_loss"] == 0.7
    assert isinstance(registry.lake.read("registered_model"), pl.DataFrame)
