"""The networks that measures need: those that the model store holds, and for each other one the reason and the remedy.

Belongs here: loading them, and what names them. Not here: running them (`published_faces`, `curricular_face`, `inception`,
`clip`). Nothing heavy is imported before a network is loaded.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.evaluation.measures.record import Absent
from model.model_store.registry import Kind, find_entry
from model.model_store.store import InstalledModel, LicenceNotAccepted, ModelStore

if TYPE_CHECKING:
    from model.evaluation.measures.clip import ClipNetwork
    from model.evaluation.measures.published_faces import FaceFinder

VERSION: Final = 1
"""Raise it when the same networks would give other values."""
NAMES: Final = ("buffalo_l", "curricularface_ir101", "inception_v3", "clip_vit_b32")

Loaded = TypeVar("Loaded")


class Vectors(Protocol):
    """(N, H, W, 3) uint8 RGB to (N, D)."""

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]: ...


class TwoFoldVectors(Vectors, Protocol):
    """Inception, which ConsisID feeds otherwise than its weights want."""

    def unshifted(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]: ...


@dataclass(frozen=True, eq=False)
class Networks:
    """What there is."""

    faces: "FaceFinder | Absent"
    curricular: Vectors | Absent
    inception: TwoFoldVectors | Absent
    clip: "ClipNetwork | Absent"


def load_networks(store: ModelStore, device: Any = "cpu") -> Networks:
    """All that are in the store and may be used.

    Raises:
        StoreDamaged: a file is not the one that arrived.
    """
    faces, curricular, inception, clip = NAMES
    return Networks(
        faces=_loaded(store, faces, lambda model: _faces(model)),
        curricular=_loaded(store, curricular, lambda model: _curricular(model, device)),
        inception=_loaded(store, inception, lambda model: _inception(model, device)),
        clip=_loaded(store, clip, lambda model: _clip(model, device)),
    )


def networks_fingerprint(store: ModelStore) -> str:
    """Over the networks that would be loaded: what was measured without one is measured anew when it has come."""
    facts = [f"measures/{VERSION}"]
    for name in NAMES:
        files = store.record(name).files if store.usable(name) else ()
        facts.append(" ".join([name, *(file.sha256 for file in files)]))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _loaded(store: ModelStore, name: str, load: Callable[[InstalledModel], Loaded]) -> Loaded | Absent:
    entry = find_entry(name)
    if not store.present(name):
        how = "fetch" if entry.fetchable else "add"
        return Absent(f"{name} ({entry.task}) is not in the model store: `lafid models {how} {name}`")
    try:
        return load(store.require(name))
    except LicenceNotAccepted as error:
        return Absent(str(error))


def _faces(model: InstalledModel) -> "FaceFinder":
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX
    from insightface.model_zoo.scrfd import SCRFD

    from model.evaluation.measures.published_faces import InsightfaceFinder
    from model.face_engine.onnx_session import open_session

    detector, embedder = (model.networks(kind)[0][0] for kind in (Kind.SCRFD, Kind.ARCFACE))
    return InsightfaceFinder(SCRFD(str(detector), open_session(detector)), ArcFaceONNX(str(embedder), open_session(embedder)))


def _curricular(model: InstalledModel, device: Any) -> Vectors:
    from model.evaluation.measures.curricular_face import CurricularVectors, load_curricular

    return CurricularVectors(load_curricular(model.networks(Kind.CURRICULARFACE)[0][0]), device)


def _inception(model: InstalledModel, device: Any) -> TwoFoldVectors:
    from model.evaluation.measures.inception import InceptionVectors, load_inception

    return InceptionVectors(load_inception(model.networks(Kind.INCEPTION)[0][0]), device)


def _clip(model: InstalledModel, device: Any) -> "ClipNetwork":
    from model.evaluation.measures.clip import TransformersClip

    return TransformersClip.from_folder(model.folder, device)
