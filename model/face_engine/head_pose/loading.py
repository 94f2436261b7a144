"""The head pose network of a model in the store."""

from collections.abc import Callable

from model.face_engine.head_pose.fsanet import FsaNet
from model.face_engine.head_pose.sixdrepnet import SixDRepNet
from model.face_engine.interface import HeadPose
from model.model_store.registry import Kind
from model.model_store.store import InstalledModel

_NETWORKS: dict[Kind, Callable[[InstalledModel], HeadPose]] = {Kind.FSANET: FsaNet, Kind.SIXDREPNET: SixDRepNet}


def load_head_pose(model: InstalledModel) -> HeadPose:
    """The network behind `HeadPose`.

    Raises:
        ValueError: the model is none for head pose.
    """
    if model.entry.kind not in _NETWORKS:
        raise ValueError(f"{model.entry.name} is a model for {model.entry.task}, not for head pose")
    return _NETWORKS[model.entry.kind](model)
