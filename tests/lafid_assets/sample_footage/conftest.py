"""The landmarks of both sitters, fitted once."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lafid_assets.sample_footage.build import portrait_landmarks
from lafid_assets.sample_footage.render import Landmarks, Studio


@pytest.fixture(scope="session")
def landmarks() -> Landmarks:
    return portrait_landmarks()


@pytest.fixture(scope="session")
def collins_landmarks_px(landmarks: Landmarks) -> NDArray[np.float64]:
    return landmarks["collins"]


@pytest.fixture(scope="session")
def studio(landmarks: Landmarks) -> Studio:
    return Studio(landmarks)
