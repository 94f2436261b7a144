"""Crafted faces: a person is an axis of the embedding space, and turning the head moves the embedding away from it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from lafid_assets.schemas import FACE_FRAMES, FACES
from model.face_engine.rotations import rotation_from_angles

WIDTH = 24
COSINE_LOST_PER_DEG = 0.009


def _face(person: int, yaw_deg: float, wobble: float, random: np.random.Generator) -> list[float]:
    """Unit vector whose cosine to the frontal face of its person falls by 0.009 a degree."""
    cosine = 1 - COSINE_LOST_PER_DEG * abs(yaw_deg)
    vector = np.zeros(WIDTH)
    vector[person] = cosine
    vector[8 + person + (4 if yaw_deg < 0 else 0)] = np.sqrt(1 - cosine**2)
    vector += wobble * random.standard_normal(WIDTH) / np.sqrt(WIDTH)
    return (vector / np.linalg.norm(vector)).tolist()


@pytest.fixture(scope="session")
def clip_of(row_of: Callable[..., dict[str, Any]]) -> Callable[..., tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Rows of `faces` and of `face_frames` of one clip, given the person (None: no face) and yaw of every frame."""

    def make(
        clip_id: str,
        persons: Sequence[int | None],
        yaws_deg: Sequence[float] | None = None,
        *,
        engine: str = "insightface",
        wobble: float = 0.2,
        luminance: Sequence[float] | None = None,
        changes: dict[int, dict[str, Any]] | None = None,
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        random = np.random.default_rng(sum(map(ord, clip_id)))
        known = {"clip_id": clip_id, "engine": engine, "engine_version": "1"}
        box = {"box_x1": 100.0, "box_y1": 100.0, "box_x2": 200.0, "box_y2": 200.0, "frame_share": 0.1}
        frames, faces = [], []
        for frame, person in enumerate(persons):
            light = luminance[frame] if luminance else 100.0
            frames.append(row_of(FACE_FRAMES, **known, frame_index=frame, luminance=light))
            if person is None:
                continue
            yaw_deg = yaws_deg[frame] if yaws_deg else 0.0
            face = {
                "embedding": _face(person, yaw_deg, wobble, random),
                "rotation": rotation_from_angles(yaw_deg, 0, 0).ravel().tolist(),
                "sharpness": 100.0,
                "score": 0.8,
            }
            seen = known | {"frame_index": frame, "face_index": 0} | box | face | (changes or {}).get(frame, {})
            faces.append(row_of(FACES, **seen))
        return faces, frames

    return make


@pytest.fixture(scope="session")
def shard_of() -> Callable[..., tuple[pl.DataFrame, pl.DataFrame]]:
    """`faces` and `face_frames` of several clips."""

    def make(*clips: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> tuple[pl.DataFrame, pl.DataFrame]:
        faces, frames = ([row for clip in clips for row in clip[side]] for side in (0, 1))
        return FACES.frame(faces), FACE_FRAMES.frame(frames)

    return make
