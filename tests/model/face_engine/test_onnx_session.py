"""How networks are opened: one thread that never spins, no arena, a GPU only where one works, OpenVINO only when asked for."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from model.face_engine import onnx_session
from model.face_engine.onnx_session import (
    CPU,
    CUDA,
    OPENVINO,
    OPENVINO_BF16,
    PROVIDER_VARIABLE,
    ProviderUnusable,
    crop_batch,
    gpu_count,
    on_cuda,
    open_session,
    provider,
)
from model.model_store.registry import Kind


@pytest.fixture(autouse=True)
def _asked_afresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(PROVIDER_VARIABLE, raising=False)
    gpu_count.cache_clear()
    yield
    gpu_count.cache_clear()


@pytest.fixture
def network(write_network: Callable[..., Path], tmp_path: Path) -> Path:
    return write_network(tmp_path / "a.onnx", Kind.FSANET, 3.0)


def test_a_session_has_one_thread_that_does_not_spin(network: Path) -> None:
    session = open_session(network)
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert not options.enable_cpu_mem_arena
    for pool in ("intra", "inter"):
        assert options.get_session_config_entry(f"session.{pool}_op.allow_spinning") == "0"
    assert session.run(None, {"input": np.zeros((1, 3, 64, 64), np.float32)})[0].tolist() == [[3.0, 3.0, 3.0]]


def test_without_a_gpu_everything_runs_on_the_cpu_one_crop_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_session, "cuda_devices", lambda: 0)
    assert (on_cuda(), provider(), crop_batch()) == (False, CPU, 1)


def test_a_gpu_without_the_cuda_build_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_session, "cuda_devices", lambda: 1)
    monkeypatch.setattr(onnx_session, "_onnxruntime", lambda: SimpleNamespace(get_available_providers=lambda: [CPU]))
    assert provider() == CPU


def _build(available: list[str], of_session: list[str]) -> tuple[SimpleNamespace, list[list[object]]]:
    """An onnxruntime that has these providers, and those that it was asked for."""
    import onnxruntime

    asked: list[list[object]] = []

    def open_(path: str, options: object, providers: list[object]) -> SimpleNamespace:
        asked.append(providers)
        return SimpleNamespace(get_providers=lambda: of_session)

    build = SimpleNamespace(
        get_available_providers=lambda: available, SessionOptions=onnxruntime.SessionOptions, InferenceSession=open_
    )
    return build, asked


def test_a_gpu_and_the_cuda_build_are_used_with_batches(monkeypatch: pytest.MonkeyPatch, network: Path) -> None:
    build, asked = _build([CUDA, CPU], [CUDA, CPU])
    monkeypatch.setattr(onnx_session, "cuda_devices", lambda: 1)
    monkeypatch.setattr(onnx_session, "_onnxruntime", lambda: build)
    assert open_session(network).get_providers()[0] == CUDA
    assert asked == [[CUDA, CPU]]
    assert (provider(), crop_batch()) == (CUDA, onnx_session.CUDA_BATCH)


def test_a_gpu_that_does_not_work_is_told_and_not_replaced_in_silence(monkeypatch: pytest.MonkeyPatch, network: Path) -> None:
    build, _ = _build([CUDA, CPU], [CPU])
    monkeypatch.setattr(onnx_session, "cuda_devices", lambda: 1)
    monkeypatch.setattr(onnx_session, "_onnxruntime", lambda: build)
    with pytest.raises(
        ProviderUnusable, match="onnxruntime cannot run a.onnx on the GPU: .* hide the GPU with CUDA_VISIBLE_DEVICES"
    ):
        open_session(network)


def test_onnxruntime_keeps_no_identifier_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    onnx_session._onnxruntime()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_openvino_runs_in_bfloat16_on_one_thread_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, network: Path) -> None:
    build, asked = _build([OPENVINO, CUDA, CPU], [OPENVINO, CPU])
    monkeypatch.setattr(onnx_session, "cuda_devices", lambda: 1)
    monkeypatch.setattr(onnx_session, "_onnxruntime", lambda: build)
    assert provider() == CUDA
    gpu_count.cache_clear()
    monkeypatch.setenv(PROVIDER_VARIABLE, OPENVINO_BF16)
    assert open_session(network).get_providers()[0] == OPENVINO
    [[(name, options), fallback]] = asked
    assert (name, fallback, options["device_type"]) == (OPENVINO, CPU, "CPU")
    properties = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": "1", "NUM_STREAMS": "1"}
    assert json.loads(options["load_config"]) == {"CPU": properties}
    assert provider().startswith(OPENVINO)
    assert (on_cuda(), crop_batch()) == (False, 1)


@pytest.mark.parametrize(
    ("asked", "available", "message"),
    [
        ("openvino-bf16", [CPU], "which this onnxruntime lacks: `pip uninstall onnxruntime` and then"),
        ("fastest", [OPENVINO, CPU], "LAFID_ONNX_PROVIDER is 'fastest': set it to openvino-bf16, or unset it"),
    ],
)
def test_a_provider_that_cannot_be_had_is_told_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, asked: str, available: list[str], message: str
) -> None:
    monkeypatch.setattr(onnx_session, "_onnxruntime", lambda: _build(available, available)[0])
    monkeypatch.setenv(PROVIDER_VARIABLE, asked)
    with pytest.raises(ProviderUnusable, match=message):
        provider()


def test_openvino_that_does_not_work_is_told_and_not_replaced_in_silence(monkeypatch: pytest.MonkeyPatch, network: Path) -> None:
    monkeypatch.setattr(onnx_session, "_onnxruntime", lambda: _build([OPENVINO, CPU], [CPU])[0])
    monkeypatch.setenv(PROVIDER_VARIABLE, OPENVINO_BF16)
    with pytest.raises(ProviderUnusable, match=r"OpenVINO cannot run a\.onnx: repair its installation, or unset LAFID_ONNX"):
        open_session(network)
