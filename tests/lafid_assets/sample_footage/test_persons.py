"""The people: told apart by the embedding, recognised when they turn."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from lafid_assets.sample_footage.persons import PERSONS
from lafid_assets.sample_footage.render import Studio
from lafid_assets.sample_footage.scenes import Appearance, Motion, Scene, Shot
from model.face_engine.dlib_engine import DlibEngine

RAW_NORM = 1.43
"""Mean length of dlib's embeddings before they are normalised: its customary limit of 0.6 is 0.42 between unit vectors."""
SAME_PERSON_LIMIT = 0.6 / RAW_NORM
POSES = ((0.0, 0.0, 0.0), (-22.0, 3.0, 5.0), (22.0, -3.0, -5.0), (30.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def embeddings(studio: Studio) -> dict[str, NDArray[np.float32]]:
    """(poses, 128) unit embeddings by person."""
    engine = DlibEngine()
    seen = {}
    for name in PERSONS:
        faces = []
        for yaw, pitch, roll in POSES:
            motion = Motion(yaw_deg=(yaw, yaw), pitch_deg=(pitch, pitch), roll_deg=(roll, roll))
            shot = Shot(duration_s=0.05, people=(Appearance(person=name, motion=motion),))
            frame = next(studio.frames(Scene(name="test still", shots=(shot,), caption=""), None))
            faces += engine.detect(frame)
        assert len(faces) == len(POSES)
        seen[name] = np.stack([face.embedding for face in faces if face.embedding is not None])
    return seen


def test_everyone_resembles_themselves_when_turned(embeddings: dict[str, NDArray[np.float32]]) -> None:
    for name, own in embeddings.items():
        widest = max(float(np.linalg.norm(a - b)) for a, b in combinations(own, 2))
        print(f"{name}: widest distance between poses {widest:.2f} (raw {widest * RAW_NORM:.2f})")
        assert widest < SAME_PERSON_LIMIT


def test_nobody_resembles_anybody_else(embeddings: dict[str, NDArray[np.float32]]) -> None:
    centroids = {name: own.mean(axis=0) / np.linalg.norm(own.mean(axis=0)) for name, own in embeddings.items()}
    for first, second in combinations(centroids, 2):
        distance = float(np.linalg.norm(centroids[first] - centroids[second]))
        print(f"{first} - {second}: {distance:.2f} (raw {distance * RAW_NORM:.2f}, cosine {1 - distance**2 / 2:.3f})")
        assert distance > SAME_PERSON_LIMIT
