"""Small seeded networks in place of the published ones."""

import pytest
from torch import nn

from model.evaluation.measures.curricular_face import CurricularFace, CurricularVectors
from model.evaluation.measures.inception import InceptionVectors
from model.evaluation.measures.networks import Networks
from tests.model.evaluation.measures.invented import ColourClip, Convolved, FrameFinder, networks_of, seeded


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
    of_vectors = {"curricular": CurricularVectors(curricular, "cpu"), "inception": InceptionVectors(convolved, "cpu")}
    return networks_of(faces=FrameFinder(), clip=ColourClip(), **of_vectors)
