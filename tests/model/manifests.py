"""Manifests of checkpoints that tests write."""

from pathlib import Path
from typing import Any

from model.bases.base import BaseInfo
from model.presets import Preset, preset
from model.release import MANIFEST_FILE
from model.release.checkpoint import EmbeddingSource, Manifest


def a_manifest(preset: Preset, base: BaseInfo, **facts: Any) -> Manifest:
    """Of a checkpoint of this preset on this base; `facts` are fields that a test asks for."""
    known = {
        "face_engine": EmbeddingSource(name="stub", version="1", width=16),
        "encoders_fingerprint": "e",
        "parts": {},
        "dataset_version": "v1",
        "seed": 0,
        "step": 4,
        "loss_before": 2.0,
        "loss_after": 1.0,
    }
    return Manifest(preset=preset, base=base, **known | facts)


def checkpoint_without_parts(folder: Path, **facts: Any) -> Path:
    """Of the tiny preset, for whoever asks what it is and loads nothing."""
    info = BaseInfo(name="tiny", layout="ti2v", repository=None, revision=None, boundary=None, sha256="0" * 64)
    folder.mkdir(parents=True)
    (folder / MANIFEST_FILE).write_text(a_manifest(preset("tiny"), info, **facts).model_dump_json())
    return folder
