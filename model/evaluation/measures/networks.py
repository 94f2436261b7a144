"""The networks that measures need. Each is loaded from the model store when the first measure asks for it.

Belongs here: loading them, and what names them. Not here: running them (`published_faces`, `curricular_face`, `inception`,
`clip`). Nothing heavy is imported before a network is loaded.
"""

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from model.evaluation.measures.record import Absent
from model.model_store.registry import Kind, find_entry
from model.model_store.store import InstalledModel, LicenceNotAccepted, ModelStore

if TYPE_CHECKING:
    from model.evaluation.measures.clip import TransformersClip
    from model.evaluation.measures.curricular_face import CurricularVectors
    from model.evaluation.measures.inception import InceptionVectors
    from model.evaluation.measures.published_faces import FaceFinder

VERSION: Final = 1
"""Raise it when the same networks would give other values."""
FACES, CURRICULAR, INCEPTION, CLIP = NAMES = ("buffalo_l", "curricularface_ir101", "inception_v3", "clip_vit_b32")


class Networks:
    """Those of a model store.

    Asking for one raises:
        Absent: it is not in the store, or its terms were not accepted; the message names the remedy.
        StoreDamaged: a file is not the one that arrived.
    """

    def __init__(self, store: ModelStore, device: Any = "cpu") -> None:
        self._store = store
        self._device = device

    @cached_property
    def faces(self) -> "FaceFinder":
        """buffalo_l's detector and embedder."""
        model = self._installed(FACES)
        from insightface.model_zoo.arcface_onnx import ArcFaceONNX
        from insightface.model_zoo.scrfd import SCRFD

        from model.evaluation.measures.published_faces import FaceFinder
        from model.face_engine.onnx_session import open_session

        detector, embedder = (model.networks(kind)[0][0] for kind in (Kind.SCRFD, Kind.ARCFACE))
        return FaceFinder(SCRFD(str(detector), open_session(detector)), ArcFaceONNX(str(embedder), open_session(embedder)))

    @cached_property
    def curricular(self) -> "CurricularVectors":
        """CurricularFace's IR-101."""
        model = self._installed(CURRICULAR)
        from model.evaluation.measures.curricular_face import CurricularVectors, load_curricular

        return CurricularVectors(load_curricular(model.networks(Kind.CURRICULARFACE)[0][0]), self._device)

    @cached_property
    def inception(self) -> "InceptionVectors":
        """torchvision's Inception-v3."""
        model = self._installed(INCEPTION)
        from model.evaluation.measures.inception import InceptionVectors, load_inception

        return InceptionVectors(load_inception(model.networks(Kind.INCEPTION)[0][0]), self._device)

    @cached_property
    def clip(self) -> "TransformersClip":
        """CLIP ViT-B/32."""
        model = self._installed(CLIP)
        from model.evaluation.measures.clip import TransformersClip

        return TransformersClip.from_folder(model.folder, self._device)

    def _installed(self, name: str) -> InstalledModel:
        entry = find_entry(name)
        if not self._store.present(name):
            how = "fetch" if entry.fetchable else "add"
            raise Absent(f"{name} ({entry.task}) is not in the model store: `lafid models {how} {name}`")
        try:
            return self._store.require(name)
        except LicenceNotAccepted as error:
            raise Absent(str(error)) from error


def networks_fingerprint(store: ModelStore) -> str:
    """Over the networks that would be loaded: what was measured without one is measured anew when it has come."""
    facts = [f"measures/{VERSION}"]
    for name in NAMES:
        files = store.record(name).files if store.usable(name) else ()
        facts.append(" ".join([name, *(file.sha256 for file in files)]))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
