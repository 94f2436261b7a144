"""Opening ONNX networks the way a machine that runs one process a core wants them.

Belongs here: session options and where a network runs. Not here: any network.
"""

import ctypes
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
CUDA_BATCH = 32
"""Crops a network sees at once on a GPU. On a CPU it is one: larger batches save nothing there (0 to 5 %, measured), and the
numbers of a face then cannot depend on its neighbours."""


class CudaUnusable(RuntimeError):
    """onnxruntime-gpu and a GPU are here, and do not work together; the message says what to do."""


def open_session(path: Path) -> Any:
    """An `onnxruntime.InferenceSession` on the GPU where this onnxruntime can use one, else on one CPU thread that never spins.

    Spinning pools waste a third of the CPU (measured with three networks), and the arena holds on to the largest input ever seen.

    Raises:
        CudaUnusable: the GPU is there and its session is not.
    """
    ort = _onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    wanted = [CUDA, CPU] if on_cuda() else [CPU]
    session = ort.InferenceSession(str(path), options, providers=wanted)
    if session.get_providers()[0] != wanted[0]:
        raise CudaUnusable(
            f"onnxruntime cannot run {path.name} on the GPU: its CUDA and cuDNN libraries are missing or of other versions; "
            "repair them, or hide the GPU with CUDA_VISIBLE_DEVICES=''"
        )
    return session


@lru_cache(maxsize=1)
def on_cuda() -> bool:
    """Whether networks run on a GPU: the CUDA build of onnxruntime is installed, and the driver shows a device."""
    return CUDA in _onnxruntime().get_available_providers() and _cuda_devices() > 0


def provider() -> str:
    """Where networks run, as it goes into fingerprints: the same weights give slightly other numbers elsewhere."""
    return CUDA if on_cuda() else CPU


def crop_batch() -> int:
    """Crops a network sees at once."""
    return CUDA_BATCH if on_cuda() else 1


def _onnxruntime() -> Any:
    # Read when its library loads: it would else keep an identifier of this machine for its makers' statistics.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


def _cuda_devices() -> int:
    """Devices that the driver shows, without torch (seconds to import) and without a context in this process."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
