"""MLflow's entry point, in this process: what its configuration reaches, and how requests that cannot be read pass MLflow by."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from model.encoding.encoders import ClipEncoders
from model.face_branch.trainable import FusedModel
from model.presets import Preset
from model.release.checkpoint import write_checkpoint
from model.release.pyfunc_model import AskedVideo, LafidModel, Refusal
from model.release.service import RequestWrong, ServiceLimits, TooBusy, TookTooLong
from tests.model.manifests import a_manifest


@pytest.fixture
def loaded(
    fused: Callable[..., FusedModel],
    quick: Callable[..., Preset],
    base_dir: Path,
    stub_engine: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., LafidModel]:
    model = fused()
    manifest = a_manifest(quick(), model.base.info, encoders_fingerprint=ClipEncoders(model.base).fingerprint)
    write_checkpoint(tmp_path / "checkpoint", model, manifest)
    monkeypatch.setattr("model.release.pipeline.engine_named", lambda _: stub_engine())

    def load(artifacts: dict[str, str] | None = None, **config: Any) -> LafidModel:
        served = LafidModel()
        found = {"checkpoint": str(tmp_path / "checkpoint")} | ({"base": str(base_dir)} if artifacts is None else artifacts)
        served.load_context(SimpleNamespace(artifacts=found, model_config=config))
        return served

    return load


def test_its_configuration_arrives(loaded: Callable[..., LafidModel], base_dir: Path) -> None:
    plain = {"base_dir": "", "precision": "", "low_memory": False, "device": "cpu", "semantic_dir": ""}
    service = loaded(**plain).service
    assert service.limits == ServiceLimits()
    assert service.pipeline.model.base.transformer.dtype == torch.float32
    service = loaded({}, **plain | {"base_dir": str(base_dir), "precision": "bfloat16", "queue": 2, "timeout_s": 3.0}).service
    assert service.limits == ServiceLimits(queue=2, timeout_s=3.0)
    assert service.pipeline.model.base.transformer.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="the model's base does not travel with it"):
        loaded({}, **plain)
    with pytest.raises(ValueError, match="quue"):
        loaded(**plain, quue=3)


@pytest.mark.parametrize(("servers", "asked", "limit"), [("60", 600.0, 60.0), ("60", 5.0, 5.0)])
def test_it_does_not_draw_for_longer_than_mlflows_server_waits(
    servers: str, asked: float, limit: float, loaded: Callable[..., LafidModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT", servers)
    assert loaded(device="cpu", timeout_s=asked).service.limits.timeout_s == limit


def test_a_wrong_request_passes_mlflows_validation_and_is_refused_by_us(loaded: Callable[..., LafidModel]) -> None:
    """MLflow's own refusal would repeat the request."""
    served = loaded(device="cpu")
    with pytest.raises(Refusal) as refused:
        served.predict(SimpleNamespace(), [{"prompt": "x", "image": "SECRET", "steps": 1}, {"prompt": "SECRET", "steps": 0}])
    refused.value.message = "Failed to predict data SECRET"  # as MLflow's server does
    told = json.loads(refused.value.serialize_as_json())
    assert refused.value.get_http_status_code() == 400
    assert told["message"].startswith("request 1: steps: ")
    assert "SECRET" not in str(told)
    assert AskedVideo(prompt="x", steps=2).wrong == ""


@pytest.mark.parametrize(("error", "status"), [(RequestWrong("x"), 400), (TooBusy("x"), 429), (TookTooLong("x"), 504)])
def test_each_refusal_has_its_status(error: Any, status: int) -> None:
    refusal = Refusal(error)
    assert refusal.get_http_status_code() == status
    assert json.loads(refusal.serialize_as_json())["message"] == "x"
