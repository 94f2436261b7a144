"""Opening ONNX networks the way a machine that runs one process a core wants them.

Belongs here: session options and where a network runs. Not here: any network.
"""

import ctypes
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

CPU, CUDA, OPENVINO = "CPUExecutionProvider", "CUDAExecutionProvider", "OpenVINOExecutionProvider"
CUDA_BATCH = 32
"""Crops a network sees at once on a GPU. On a CPU it is one: larger batches save nothing there (0 to 5 %, measured), and the
numbers of a face then cannot depend on its neighbours."""

PROVIDER_VARIABLE = "LAFID_ONNX_PROVIDER"
"""Unset: the GPU where there is one, else the CPU in float32. `openvino-bf16`: Intel's OpenVINO on the CPU in bfloat16, which
halves 6DRepNet and moves its yaw by 1.8 degrees on average (4.1 at most, measured): never taken unless asked for."""
OPENVINO_BF16 = "openvino-bf16"
_OPENVINO_PROPERTIES = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": "1", "NUM_STREAMS": "1"}
_OPENVINO_OPTIONS = {"device_type": "CPU", "load_config": json.dumps({"CPU": _OPENVINO_PROPERTIES})}


class ProviderUnusable(RuntimeError):
    """Networks cannot run where they should; the message says what to do."""


def open_session(path: Path) -> Any:
    """An `onnxruntime.InferenceSession` on the GPU where this onnxruntime can use one, else on one CPU thread that never spins.

    Spinning pools waste a third of the CPU (measured with three networks), and the arena holds on to the largest input ever seen.

    Raises:
        ProviderUnusable: the GPU is there and its session is not; or OpenVINO was asked for and does not run.
    """
    ort = _onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    if on_openvino():
        session = ort.InferenceSession(str(path), options, providers=[(OPENVINO, _OPENVINO_OPTIONS), CPU])
        if session.get_providers()[0] != OPENVINO:
            raise ProviderUnusable(f"OpenVINO cannot run {path.name}: repair its installation, or unset {PROVIDER_VARIABLE}")
        return session
    wanted = [CUDA, CPU] if on_cuda() else [CPU]
    session = ort.InferenceSession(str(path), options, providers=wanted)
    if session.get_providers()[0] != wanted[0]:
        raise ProviderUnusable(
            f"onnxruntime cannot run {path.name} on the GPU: its CUDA and cuDNN libraries are missing or of other versions; "
            "repair them, or hide the GPU with CUDA_VISIBLE_DEVICES=''"
        )
    return session


def on_cuda() -> bool:
    """Whether networks run on a GPU: the CUDA build of onnxruntime is installed, and the driver shows a device."""
    return gpu_count() > 0


@lru_cache(maxsize=1)
def gpu_count() -> int:
    """GPUs on which networks can run."""
    return cuda_devices() if CUDA in _onnxruntime().get_available_providers() and not on_openvino() else 0


def on_openvino() -> bool:
    """Whether OpenVINO was asked for.

    Raises:
        ProviderUnusable: by another name, or without the build of onnxruntime that has it.
    """
    asked = os.environ.get(PROVIDER_VARIABLE)
    if not asked:
        return False
    if asked != OPENVINO_BF16:
        raise ProviderUnusable(f"{PROVIDER_VARIABLE} is {asked!r}: set it to {OPENVINO_BF16}, or unset it")
    if OPENVINO not in _onnxruntime().get_available_providers():
        raise ProviderUnusable(
            f"{PROVIDER_VARIABLE} asks for OpenVINO, which this onnxruntime lacks: `pip uninstall onnxruntime` and then "
            "`pip install onnxruntime-openvino` (never both: they install over the same folder), or unset it"
        )
    return True


def provider() -> str:
    """Where networks run, as it goes into fingerprints: the same weights give slightly other numbers elsewhere."""
    if on_openvino():
        return f"{OPENVINO} {json.dumps(_OPENVINO_OPTIONS)}"
    return CUDA if on_cuda() else CPU


def crop_batch() -> int:
    """Crops a network sees at once."""
    return CUDA_BATCH if on_cuda() else 1


def _onnxruntime() -> Any:
    # Read when its library loads: it would else keep an identifier of this machine for its makers' statistics.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


def cuda_devices() -> int:
    """Devices that the driver shows, without torch (seconds to import) and without a context in this process."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
