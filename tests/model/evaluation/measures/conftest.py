"""Small seeded networks in place of the published ones."""

import pytest
from torch import nn

from model.evaluation.measures.curricular_face import CurricularFace, CurricularVectors
from model.evaluation.measures.inception import InceptionVectors
from model.evaluation.measures.networks import Networks
from model.evaluation.measures.record import Absent
from tests.model.evaluation.measures.invented import ColourClip, Convolved, FrameFinder, seeded


@pytest.fixture(scope="session")
def curricular() -> nn.Module:
    """CurricularFace's network, narrow and short."""
    return seeded(lambda: CurricularFace(((4, 1), (6, 2), (6, 1), (8, 1))))


@pytest.fixture(scope="session")
def convolved() -> nn.Module:
    """In Inception's place."""
    return seeded(Convolved)


@pytest.fixture
def networks(curricular: nn.Module, convolved: nn.Module) -> Networks:
    return Networks(FrameFinder(), CurricularVectors(curricular, "cpu"), InceptionVectors(convolved, "cpu"), ColourClip())


@pytest.fixture
def without_networks() -> Networks:
    return Networks(*(Absent(f"no {name}") for name in ("faces", "curricular", "inception", "clip")))  # type: ignore[arg-type]
