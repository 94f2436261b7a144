"""How networks are opened: one thread that never spins, no arena, and a GPU only where one works."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from model.face_engine import onnx_session
from model.face_engine.onnx_session import CPU, CUDA, CudaUnusable, crop_batch, on_cuda, open_session, provider
from model.model_store.registry import Kind


@pytest.fixture(autouse=True)
def _asked_afresh() -> None:
    on_cuda.cache_clear()


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
    monkeypatch.setattr(onnx_session, "_cuda_devices", lambda: 0)
    assert (on_cuda(), provider(), crop_batch()) == (False, CPU, 1)


def test_a_gpu_without_the_cuda_build_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_session, "_cuda_devices", lambda: 1)
    monkeypatch.setattr(onnx_session, "_onnxruntime", lambda: SimpleNamespace(get_available_providers=lambda: [CPU]))
    assert provider() == CPU


def _cuda_build(providers_of_session: list[str]) -> tuple[SimpleNamespace, list[list[str]]]:
    """An onnxruntime that has CUDA, and the providers it was asked for."""
    import onnxruntime

    asked: list[list[str]] = []

    def open_(path: str, options: object, providers: list[str]) -> SimpleNamespace:
        asked.append(providers)
        return SimpleNamespace(get_providers=lambda: providers_of_session)

    build = SimpleNamespace(
        get_available_providers=lambda: [CUDA, CPU], SessionOptions=onnxruntime.SessionOptions, InferenceSession=open_
    )
    return build, asked


def test_a_gpu_and_the_cuda_build_are_used_with_batches(monkeypatch: pytest.MonkeyPatch, network: Path) -> None:
    build, asked = _cuda_build([CUDA, CPU])
    monkeypatch.setattr(onnx_session, "_cuda_devices", lambda: 1)
    monkeypatch.setattr(onnx_session, "_onnxruntime", lambda: build)
    assert open_session(network).get_providers()[0] == CUDA
    assert asked == [[CUDA, CPU]]
    assert (provider(), crop_batch()) == (CUDA, onnx_session.CUDA_BATCH)


def test_a_gpu_that_does_not_work_is_told_and_not_replaced_in_silence(monkeypatch: pytest.MonkeyPatch, network: Path) -> None:
    build, _ = _cuda_build([CPU])
    monkeypatch.setattr(onnx_session, "_cuda_devices", lambda: 1)
    monkeypatch.setattr(onnx_session, "_onnxruntime", lambda: build)
    with pytest.raises(CudaUnusable, match="onnxruntime cannot run a.onnx on the GPU: .* hide the GPU with CUDA_VISIBLE_DEVICES"):
        open_session(network)


def test_onnxruntime_keeps_no_identifier_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    onnx_session._onnxruntime()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
