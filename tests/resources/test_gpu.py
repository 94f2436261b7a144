"""A GPU for each process that encodes."""

from types import SimpleNamespace

import pytest
import torch

from resources import gpu


@pytest.fixture(autouse=True)
def _two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid=f"GPU-{number}"))
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(gpu, "_held", [])
    monkeypatch.delenv(gpu.LOCAL_WORLD_SIZE, raising=False)
    gpu.own_device.cache_clear()
    yield
    gpu.own_device.cache_clear()


def test_each_process_takes_one_and_keeps_it() -> None:
    assert gpu.own_device() == gpu.own_device() == torch.device("cuda", 0)
    gpu.own_device.cache_clear()  # as another process asks, whose file is another one
    assert gpu.own_device() == torch.device("cuda", 1)
    gpu.own_device.cache_clear()
    with pytest.raises(gpu.NoGpuLeft, match="on each of the 2 GPUs .* set gpu 2"):
        gpu.own_device()
    gpu._held.pop().close()
    assert gpu.own_device() == torch.device("cuda", 1), "a process that ended, however it ended, gives it back"


def test_without_a_gpu_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert gpu.own_device() == torch.device("cpu")
    assert gpu.processes_here() == 1
    monkeypatch.setenv(gpu.LOCAL_WORLD_SIZE, "3")
    assert gpu.processes_here() == 3
