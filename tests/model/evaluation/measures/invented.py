"""Invented faces and small seeded networks, so that published rules are held without published weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from model.evaluation.bench import GalleryFace, Person, SourceClip
from model.evaluation.measures.networks import Networks
from model.evaluation.measures.published_faces import FoundFace
from model.evaluation.measures.record import Absent, CaseVideo
from model.evaluation.similarity import FrameFace
from model.face_engine.crops import norm_crop
from model.face_engine.interface import Image
from model.model_store.store import ModelStore

SIDE = 64
_POINTS = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]], np.float32)


def face_picture(seed: int, *boxes: tuple[int, int, int]) -> Image:
    """Noise with a frame of one colour, (255, 0, 200 + n), around each face: (left, top, side)."""
    picture = np.random.default_rng(seed).integers(0, 250, (SIDE, SIDE, 3), np.uint8)
    for number, (left, top, side) in enumerate(boxes):
        colour = (255, 0, 200 + number)
        picture[top, left : left + side] = picture[top + side - 1, left : left + side] = colour
        picture[top : top + side, left] = picture[top : top + side, left + side - 1] = colour
    return picture


@dataclass
class FrameFinder:
    """Finds what `face_picture` framed, in the order in which it did, but nothing that touches the picture's edge.

    An embedding is a seeded projection of the crop that ArcFace would see.
    """

    width: int = 8
    searched: list[tuple[int, int]] = field(default_factory=list)

    def detect(self, image_rgb: Image) -> list[FoundFace]:
        self.searched.append(image_rgb.shape[:2])
        found = []
        for number in range(3):
            rows, columns = np.nonzero((image_rgb == (255, 0, 200 + number)).all(axis=-1))
            if not len(rows):
                continue
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            if min(box[:2]) == 0 or box[2] == image_rgb.shape[1] or box[3] == image_rgb.shape[0]:
                continue
            points = np.array(box[:2], np.float32) + _POINTS * np.float32(box[2] - box[0])
            found.append(FoundFace(tuple(float(edge) for edge in box), points))  # type: ignore[arg-type]
        return found

    def embed(self, image_rgb: Image, points_px: NDArray[np.float32]) -> NDArray[np.float32]:
        crop = norm_crop(image_rgb, points_px, 112)[::8, ::8].astype(np.float32).ravel() - 125
        return np.random.default_rng(3).standard_normal((self.width, len(crop))).astype(np.float32) @ crop


class Convolved(nn.Module):
    """Any picture to 16 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 16, 9, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x)).mean(dim=(2, 3)) * 10


@dataclass
class ColourClip:
    """A CLIP that asks how red a frame is; prompts do not matter to it."""

    asked: list[tuple[str, NDArray[np.uint8]]] = field(default_factory=list)

    def logits(self, prompt: str, frames_rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.asked.append((prompt, frames_rgb))
        return frames_rgb[..., 0].mean(axis=(1, 2), dtype=np.float32)

    def pictures(self, frames_rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        colours = frames_rgb.mean(axis=(1, 2), dtype=np.float32)
        return colours / np.linalg.norm(colours, axis=1, keepdims=True)


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """Random numbers everywhere, those of batch norms too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make()
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point() and ("running" in name or tensor.ndim == 1):
                tensor.uniform_(0.5, 1.5)
    return network.eval().requires_grad_(False)


def frame_face(
    yaw_deg: float | None = 0.0, embedding: Sequence[float] = (1.0, 0.0), mouth_opening: float | None = 0.0
) -> FrameFace:
    """Of which only what measures read is set."""
    return FrameFace(1.0, yaw_deg, None, 0.0, 0, 0.0, None, mouth_opening, tuple(embedding))


def person(*embeddings: Sequence[float]) -> Person:
    """A gallery of these views."""
    known: dict[str, Any] = {
        "yaw_deg": None,
        "pitch_deg": None,
        "roll_deg": None,
        "expression": None,
        "clip_id": "clip",
        "pts": 0,
    }
    views = [GalleryFace(path="galleries/a.png", embedding=tuple(of), **known) for of in embeddings]
    clip = SourceClip(clip_id="clip", content_sha256="0" * 64, recording_id=None, source="invented", licence="CC0")
    return Person(identity_id="a", gallery=tuple(views), clips=(clip,))


def networks_of(**those: Any) -> Networks:
    """These in place of loaded ones; the others are in no store."""
    found = Networks(ModelStore(Path("nowhere")))
    vars(found).update(those)
    return found


def taken(measure: Callable[[CaseVideo], float], of: CaseVideo) -> float | str:
    """The value, or the reason why there is none."""
    try:
        return measure(of)
    except Absent as reason:
        return str(reason)


def video(frames: Sequence[Image] | NDArray[np.uint8] = (), networks: Networks | None = None, **facts: Any) -> CaseVideo:
    """A drawn video; keywords replace its facts."""
    chosen = {
        "networks": networks or networks_of(),
        "begins_given": True,
        "fps": 8.0,
        "prompt": "a person",
        "reference": face_picture(0, (8, 8, 40)),
        "person": person((1.0, 0.0)),
        "faces": (),
        "speaking_status": "on_screen",
    }
    return CaseVideo(frames=np.asarray(frames, np.uint8), **(chosen | facts))


def small_clip(folder: Path) -> None:
    """A CLIP of transformers that spells words letter by letter, saved as such models are."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1, "pad_token_id": len(words) - 1}
    config = CLIPConfig(
        text_config=sizes | ends | {"vocab_size": len(words), "max_position_embeddings": 16},
        vision_config=sizes | {"image_size": 32, "patch_size": 16},
        projection_dim=8,
    )
    tokenizer = CLIPTokenizerFast(vocab={word: number for number, word in enumerate(words)}, merges=[])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(pictures, tokenizer).save_pretrained(folder)
