"""What the tests of the model half share: a tiny base, a few cached clips, an engine that finds faces where it is told."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.bases.base import Base, load_base
from model.bases.build import build_tiny_base
from model.bases.specs import BaseSpec
from model.clip_size import Bucket, ClipSize
from model.clips.clip_list import ClipMeta
from model.clips.clip_set import ClipSet
from model.encoding.encoders import ClipEncoders
from model.encoding.face_features import FaceFeatures
from model.encoding.views import encode_views
from model.face_branch.fusion import FaceFusion
from model.face_branch.trainable import FusedModel, assemble
from model.face_engine.interface import EngineInfo, Face, Image
from model.presets import Preset, preset
from tests.model.cached_clips import ClipLatents, encode_clip, write_clips

EMBEDDING_WIDTH = 16


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """The tensors are small, and machines that test are shared."""
    torch.set_num_threads(1)


@dataclass
class StubEngine:
    """Finds `faces` boxes in any picture, largest first; the embedding is a function of the picture's mean colour."""

    faces: int = 1
    info: EngineInfo = field(default=EngineInfo("stub", "1", EMBEDDING_WIDTH, "none", "stub"))
    rotation: NDArray[np.float32] | None = field(default_factory=lambda: np.eye(3, dtype=np.float32))

    def detect(self, image_rgb: Image, *, embed: bool = True) -> list[Face]:
        colour = image_rgb.reshape(-1, 3).mean(axis=0) / 255
        embedding = np.tile(colour, EMBEDDING_WIDTH)[:EMBEDDING_WIDTH].astype(np.float32) - 0.4
        side = min(image_rgb.shape[:2]) / 2
        boxes = [(side / 2, side / 2, side * 1.5 / (n + 1), side * 1.5 / (n + 1)) for n in range(self.faces)]
        unit = embedding / np.linalg.norm(embedding)
        return [Face(box, 1.0, np.zeros((0, 2), np.float32), self.rotation, unit, None) for box in boxes]

    def landmarks(self, image_rgb: Image, box: tuple[float, float, float, float] | None = None) -> Face | None:
        raise AssertionError("the model asks for whole faces only")


@pytest.fixture
def stub_engine() -> Callable[..., StubEngine]:
    return StubEngine


@pytest.fixture(scope="session")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    build_tiny_base(folder)
    return folder


@pytest.fixture(scope="session")
def _loaded(base_dir: Path) -> Base:
    return load_base(base_dir, "cpu")


@pytest.fixture
def base(_loaded: Base) -> Base:
    """As freshly loaded: tests attach to it and train it."""
    return deepcopy(_loaded)


@pytest.fixture(scope="session")
def quick() -> Callable[..., Preset]:
    """The tiny preset for clips of 3 frames of 16 x 16 px and a few steps; keywords change its training."""

    def make(**train: object) -> Preset:
        tiny = preset("tiny")
        settings = {"steps": 4, "checkpoint_every": 2, "log_every": 1, "warmup_steps": 1, "fixed_triples": 2} | train
        return tiny.model_copy(
            update={"clip": ClipSize(frames=3, height=16, width=16), "train": tiny.train.model_copy(update=settings)}
        )

    return make


@pytest.fixture(scope="session")
def cached(_loaded: Base) -> list[ClipLatents]:
    """Of the tiny base."""
    return encode_clips(_loaded)


def encode_clips(base: Base) -> list[ClipLatents]:
    """Five clips of a coloured square that moves, 3 frames of 16 x 16 px, each of them a view of the face too, at least 25
    degrees from the others; the first frame's is the first of them.

    Of the first two there is a caption without a sentence on speech; the face was not seen in the last frame.
    """
    encoders = ClipEncoders(base)
    rng = np.random.default_rng(0)
    clips = []
    for number in range(5):
        frames = np.full((3, 16, 16, 3), 40 * number, dtype=np.uint8)
        for time in range(3):
            frames[time, 4:10, 2 + 2 * time : 8 + 2 * time] = rng.integers(0, 256, 3)
        embeddings = rng.standard_normal((3, EMBEDDING_WIDTH)).astype(np.float32)
        meta = ClipMeta(
            clip_id=f"clip-{number}",
            caption=f"square number {number} moves",
            bucket=Bucket(3, 16, 16),
            fps=8.0,
            identity_id=f"person-{number}",
            face_engine="stub",
            face_engine_version="1",
            base_sha256=base.info.sha256,
            encoders_fingerprint=encoders.fingerprint,
        )
        angles_deg = rng.uniform(-5, 5, (3, 3)) + np.array([[0, 0, 0], [-35, 0, 0], [35, 0, 0]])
        shown = [0, 1, 2, 0]
        views = encode_views(encoders, list(frames[shown]), embeddings[shown], angles_deg[shown], 16, (16, 16))
        clip = encode_clip(encoders, frames, views, meta)
        boxes = torch.tensor([[2 + 2 * time, 4, 8 + 2 * time, 10] for time in range(3)]) / 16
        boxes[2] = torch.nan
        plain = encoders.text(f"square number {number}") if number < 2 else None
        clips.append(replace(clip, face_boxes=boxes, text_plain=plain))
    return clips


@pytest.fixture(scope="session")
def clip_list(cached: list[ClipLatents], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same clips on disk, all in the train split."""
    return write_clips(tmp_path_factory.mktemp("latents"), cached)


@pytest.fixture(scope="session")
def clips_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[BaseSpec], tuple[Path, Path]]:
    """The folder of a tiny base of that spec, and the list of such clips of its own."""

    @cache
    def build(name: str) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp(name)
        build_tiny_base(folder / "base", spec=specs[name])
        return folder / "base", write_clips(folder / "clips", encode_clips(load_base(folder / "base", "cpu")))

    specs: dict[str, BaseSpec] = {}

    def make(spec: BaseSpec) -> tuple[Path, Path]:
        assert specs.setdefault(spec.name, spec) == spec
        return build(spec.name)

    return make


@pytest.fixture
def clips(clip_list: Path) -> ClipSet:
    return ClipSet(clip_list)


@pytest.fixture
def features(clips: ClipSet) -> FaceFeatures:
    """Two people."""
    return clips.batch([0, 1]).face


@pytest.fixture
def fused(base: Base, features: FaceFeatures, quick: Callable[..., Preset]) -> Callable[..., FusedModel]:
    """A fresh fusion on `base`, with every part of the tiny preset; `hear` makes what it says more than zero."""

    def make(kind: str = "cofe", trainable: str = "adapter", heard: bool = False, **parts: object) -> FusedModel:
        chosen = quick(trainable=trainable)
        model = assemble(base, features, chosen.fusion.model_copy(update={"kind": kind, **parts}), chosen.train)
        if heard:
            hear(model.fusion)
        return model

    return make


def hear(fusion: FaceFusion) -> None:
    """Everything that begins at zero becomes small and random."""
    generator = torch.Generator().manual_seed(1)
    zeros = [attention.out for attention in fusion.attentions]
    if fusion.config.time_aware:
        zeros += [gate.time[1] for gate in fusion.gates]
    if fusion.config.aligner:
        zeros.append(fusion.join)
    if fusion.config.references:
        zeros += [reader.up for reader in fusion.reference_readers]
    with torch.no_grad():
        for linear in zeros:
            linear.weight.normal_(0, 0.2, generator=generator)
