"""Checks of the machine itself: what is installed, which models it has, its disk and its GPU.

Belongs here: what can be seen without asking anybody. Not here: servers (`servers`).
"""

import json
import os
import re
import shutil
import socket
import sys
from pathlib import Path

from lafid_assets.doctor.findings import Node, Remark
from lafid_assets.jobs import DATASET, PER_SHARD
from model.wording import first_few
from resources.settings import PROJECT_ROOT
from resources.software import CURATION, Software, packages, place

LEAST_FREE_GB, ENOUGH_FREE_GB = 1.0, 20.0
"""Free bytes on the home's disk: below the first nothing works; below the second crops and half-done shards may fill it."""
MOST_NAMED = 5
EXTRAS = (*CURATION, "cluster")
DRIVER = Path("/proc/driver/nvidia/version")
AUTO = "auto"


def software(node: Node) -> str:
    """Which LaFID this is, and where."""
    return f"{Software.here()}, in {place()}, on {socket.gethostname()}"


def installed(node: Node) -> str | None:
    """Packages that LaFID names, against the lock beside the code; and where they lie."""
    if node.is_cluster and " " in sys.prefix:
        raise Remark(f"a node of Ray does not start from {sys.prefix}, for it holds a space: install LaFID in another folder")
    found = packages(EXTRAS if node.is_cluster else CURATION)
    if missing := [name for name, version in found.items() if version is None]:
        raise ModuleNotFoundError(f"No module named {missing[0]!r}", name=missing[0])
    build = "cuda" if _has_cuda_onnxruntime() else "all"
    lock = PROJECT_ROOT / "locks" / f"{build}.txt"
    if not lock.is_file():
        raise Remark(f"there is no {lock} to compare packages with: run from a checkout, as a cluster's nodes do")
    pinned = _pins(lock)
    others = [
        f"{name} {version}, not {pinned[_pin(name, build)]}"
        for name, version in found.items()
        if version != pinned.get(_pin(name, build), version)
    ]
    if others:
        command = "make .venv/.installed" + (" CUDA=1" if build == "cuda" else "")
        raise Remark(f"{first_few(others, MOST_NAMED)} as in {lock}: run `{command}` in {PROJECT_ROOT}")
    return f"{len(found)} packages are as in {lock}"


def settings(node: Node) -> str:
    """Every line of `lafid.toml`."""
    node.told()
    file = node.file()
    return f"{file.path} fits" if file.is_there else f"there is no {file.path}: every line has its default"


def models(node: Node) -> str:
    """What the assets of curation and dataset look with: engine, models, files, keys."""
    from lafid_assets.lafid_toml.settings_check import engine_of, refuse_unusable
    from resources.face_engine import engine_reason, face_engine_info

    told = node.told()
    refuse_unusable(told, [*PER_SHARD, *DATASET])
    choice = engine_of(told)
    info, reason = face_engine_info(choice), engine_reason(choice)
    if node.is_cluster and choice.engine == AUTO:
        raise Remark(
            f'engine = "auto" comes to {info.name} here ({reason}), and may come to another one on a node with other models: '
            f'write engine = "{info.name}" below [engine] of {node.file().path}'
        )
    return f"face engine {info.name} ({reason})"


def home(node: Node) -> str:
    """The home's folder and its disk."""
    folder = node.settings.home
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(
            f"the home {folder} may not be written: make {there} writable, or set LAFID_HOME to a folder that is"
        )
    free_gb = shutil.disk_usage(there).free / 1e9
    told = f"{free_gb:.1f} GB are free for the home {folder}"
    if free_gb < LEAST_FREE_GB:
        raise OSError(f"only {told}: free some space, or set LAFID_HOME to another disk")
    if free_gb < ENOUGH_FREE_GB:
        raise Remark(f"only {told}, and crops and half-done shards lie there: free some space, or set LAFID_HOME to another disk")
    if node.is_cluster and free_gb < (scratch_gb := node.file().general.sources.scratch_gb):
        raise Remark(
            f"only {told}, where clips from S3 may take {scratch_gb:g}: free some space, or lower scratch_gb in [sources] of "
            f"{node.file().path}"
        )
    return told


def gpu(node: Node) -> str | None:
    """A GPU and its driver, where there is one or the launch file asks for one."""
    launch = node.launch()
    wanted = "gpu" in json.dumps([launch.tags, launch.precompute_tags]).lower()
    if not DRIVER.is_file():
        if wanted:
            raise Remark("no GPU is here, and the launch file asks for one: its runs go to other nodes, or wait for ever")
        return None
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError(
            f"there is a GPU driver ({DRIVER.read_text().splitlines()[0]}), but torch {torch.__version__} reaches no GPU: update "
            "the driver, or let the container see the GPU (`--gpus all`)"
        )
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    if not _has_cuda_onnxruntime():
        raise Remark(f"{', '.join(names)}, but onnxruntime is the build for CPUs: run `make .venv/.installed CUDA=1`")
    return f"{', '.join(names)}; torch {torch.__version__}"


def launch(node: Node) -> str | None:
    """The launch file."""
    from resources.trainer.launch import ENVIRONMENT

    node.launch()
    return f"{os.environ[ENVIRONMENT]} fits" if os.environ.get(ENVIRONMENT) else None


def _pins(lock: Path) -> dict[str, str]:
    """Package to the version that this Python takes from a lock."""
    from packaging.markers import Marker

    lines = re.findall(r"^([\w.-]+)==([^ ;\\]+)(?: ; ([^\\\n]+?))? *\\?$", lock.read_text(), re.MULTILINE)
    return {name: version for name, version, marker in lines if not marker or Marker(marker).evaluate()}


def _pin(name: str, build: str) -> str:
    return "onnxruntime-gpu" if name == "onnxruntime" and build == "cuda" else name


def _has_cuda_onnxruntime() -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return bool(version("onnxruntime-gpu"))
    except PackageNotFoundError:
        return False
