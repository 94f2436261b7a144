"""The identity embedding of a drawn head falls with yaw as ArcFace's does, and keeps what an identity network keeps."""

import numpy as np
import pytest
import torch

from benchmarks import head_identity
from benchmarks.head_identity import ARCFACE_SIMILARITY, ARCFACE_YAWS_DEG, IdentityEncoder
from benchmarks.heads import FACE_TRAITS, TRAITS, draw_identities


class Oracle:
    """A network that reads the traits perfectly: its pictures are the traits."""

    def traits(self, pictures: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pictures)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> IdentityEncoder:
    monkeypatch.setattr(head_identity, "render", lambda identities, *_: identities)
    return IdentityEncoder(Oracle())


def test_similarity_falls_with_yaw_as_measured(encoder: IdentityEncoder) -> None:
    identities, rng = draw_identities(2000, np.random.default_rng(1)), np.random.default_rng(2)
    frontal = encoder.embed(identities, np.full(2000, 5, np.float32), rng)
    assert torch.allclose(frontal.norm(dim=1), torch.ones(2000), atol=1e-4)
    for sign in (-1, 1):
        for yaw_deg, expected in zip(ARCFACE_YAWS_DEG, ARCFACE_SIMILARITY, strict=True):
            turned = encoder.embed(identities, np.full(2000, sign * yaw_deg, np.float32), rng)
            assert float((frontal * turned).sum(dim=1).mean()) == pytest.approx(expected, abs=0.03)
    assert abs(float((frontal * turned.roll(1, 0)).sum(dim=1).mean())) < 0.03, "another person"


def test_hair_marks_and_teeth_are_not_in_it(encoder: IdentityEncoder) -> None:
    identities = draw_identities(50, np.random.default_rng(1))
    other = draw_identities(50, np.random.default_rng(2))
    face = [TRAITS.index(name) for name in FACE_TRAITS]
    other[:, face] = identities[:, face]
    yaws = np.linspace(-75, 75, 50).astype(np.float32)
    first, second = (encoder.embed(of, yaws, np.random.default_rng(3)) for of in (identities, other))
    assert torch.equal(first, second)
