"""A model that draws grey frames, for tests of the commands that draw."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from model.bases.base import BaseInfo
from model.face_engine.interface import Face
from model.presets import preset
from tests.model.manifests import a_manifest


class StandIn:
    """Draws grey frames and remembers what it was asked."""

    fps = 8.0

    def __init__(self) -> None:
        self.loaded: dict[str, Any] = {}
        self.asked: dict[str, Any] = {}
        self.drawn: list[tuple[str, int]] = []
        self.faces: list[Face] = []
        self.engine = SimpleNamespace(detect=lambda _photo, embed: [self.faces.pop(0)] if self.faces else [])
        info = BaseInfo(name="tiny", layout="ti2v", repository=None, revision=None, boundary=None, sha256="0" * 64)
        self.manifest = a_manifest(preset("tiny"), info)
        self.model = SimpleNamespace(fusion=SimpleNamespace(config=SimpleNamespace(aligner={})))

    def generate(self, image: Image.Image | None, prompt: str, **request: Any) -> np.ndarray:
        self.asked = {"image": image, "prompt": prompt, **request}
        self.drawn.append((prompt, request["seed"]))
        request["on_step"](1, 2)
        return np.full((3, 16, 32, 3), 128, np.uint8)
