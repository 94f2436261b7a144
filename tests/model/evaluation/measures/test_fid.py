"""FID: the Frechet distance of two distributions; ConsisID's, which is another thing, under its own name."""

import numpy as np
import pytest
import torch
from PIL import Image as PilImage
from torch import nn

from model.evaluation.measures.facesim import evenly_spaced
from model.evaluation.measures.fid import CONSISID_FID, face_features, fid, frechet_distance, picture_features
from model.evaluation.measures.inception import InceptionVectors
from model.evaluation.measures.networks import Networks
from model.evaluation.measures.published_faces import aligned_face
from model.evaluation.measures.record import Absent, Sight
from model.face_engine.interface import Image
from tests.model.evaluation.measures.invented import FrameFinder, face_picture, video

REFERENCE = face_picture(0, (8, 8, 40))


def test_two_samples_by_hand() -> None:
    """In one dimension it is (m1 - m2)^2 + (s1 - s2)^2: here 2^2 + (2 - 1)^2; along axes the sum of both."""
    root2 = np.sqrt(2)
    ours, theirs = np.array([-root2, root2])[:, None], 2 + np.array([-1, 1])[:, None] / root2
    assert frechet_distance(ours, theirs) == pytest.approx(5)
    square = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * np.sqrt(3 / 4)
    assert frechet_distance(square * (2, 3), square + np.array([0, 5])) == pytest.approx(25 + 1 + 4)


def test_it_is_the_general_formula() -> None:
    """Against the square root of a matrix by scipy, for covariances that do not commute."""
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)), rng.normal(size=(70, 5)) @ rng.normal(size=(5, 5)) + 1
    first, second = np.cov(ours.T), np.cov(theirs.T)
    expected = np.sum((ours.mean(0) - theirs.mean(0)) ** 2) + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet_distance(ours, theirs) == pytest.approx(expected)
    assert frechet_distance(ours, ours) == pytest.approx(0, abs=1e-9)


def test_too_few_faces_give_no_fid() -> None:
    rng = np.random.default_rng(0)
    drawn = [rng.normal(size=(10, 4)).astype(np.float16) for _ in range(3)]
    real = rng.normal(size=(40, 4)).astype(np.float16)
    assert fid(drawn, real, enough=30) == pytest.approx(frechet_distance(np.concatenate(drawn), real))
    assert fid(drawn, real, enough=31) == Absent("FID takes 31 drawn and as many real faces; there are 30 drawn ones")
    assert fid(drawn, real[:29], enough=30) == Absent("FID takes 30 drawn and as many real faces; there are 29 real ones")
    assert fid([], real) == Absent("FID takes 2048 drawn and as many real faces; there are 0 drawn ones")


def _published_consisid(frames: list[Image], network: nn.Module) -> float:
    """Frame by frame: 299 px in [0, 1], features doubled, Frechet distance with the covariance of two equal rows."""

    def activations(crop: Image) -> torch.Tensor:
        picture = PilImage.fromarray(crop).resize((299, 299), PilImage.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
        return network(pixels).repeat(2, 1)

    finder, distances = FrameFinder(), []
    known = aligned_face(REFERENCE, finder)
    assert known is not None
    real = activations(known.crop)
    for index in np.linspace(0, len(frames) - 1, 16, dtype=int):
        if (face := aligned_face(frames[index], finder)) is None:
            continue
        drawn = activations(face.crop)
        mean = ((real.mean(dim=0) - drawn.mean(dim=0)) ** 2).sum()
        spread = torch.trace(torch.cov(real.T) + torch.cov(drawn.T))
        distances.append(float(mean + spread))
    return float(np.mean(distances))


def test_consisids_is_the_squared_distance_of_single_faces(networks: Networks, convolved: nn.Module) -> None:
    frames = [face_picture(number, *([] if number % 5 == 4 else [(6, 8, 30 + number)])) for number in range(20)]
    found = CONSISID_FID.compute(Sight(video(frames, reference=REFERENCE), networks))
    assert found == pytest.approx(_published_consisid(frames, convolved), rel=1e-4)
    same = CONSISID_FID.compute(Sight(video([REFERENCE] * 3, reference=REFERENCE), networks))
    assert same == pytest.approx(0, abs=1e-9)


def test_consisids_is_absent_where_their_code_says_0(networks: Networks, without_networks: Networks) -> None:
    noise = [face_picture(number) for number in range(3)]
    assert CONSISID_FID.compute(Sight(video(noise), networks)) == Absent("none of 16 frames shows a face")
    assert CONSISID_FID.compute(Sight(video(noise, reference=noise[0]), networks)) == Absent(
        "the reference picture shows no face to SCRFD"
    )
    assert CONSISID_FID.compute(Sight(video(noise), without_networks)) == Absent("no inception")


def test_features_are_of_drawn_faces_and_of_pixels_as_the_weights_want_them(networks: Networks, convolved: nn.Module) -> None:
    frames = [face_picture(number, *([] if number == 2 else [(6, 8, 40)])) for number in range(4)]
    found = face_features(Sight(video(frames), networks))
    assert isinstance(found, np.ndarray)
    drawn = [1 + index for index in evenly_spaced(3, 16)]
    faces = [aligned_face(frames[index], FrameFinder()) for index in drawn]
    crops = np.stack([face.crop for face in faces if face is not None])
    assert found.shape == (16 - drawn.count(2), 16)
    large = np.stack([np.array(PilImage.fromarray(crop).resize((299, 299), PilImage.Resampling.BILINEAR)) for crop in crops])
    pixels = (large / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    expected = convolved(torch.from_numpy(pixels).permute(0, 3, 1, 2).float()).numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)
    assert not np.allclose(found, InceptionVectors(convolved, "cpu").unshifted(crops), atol=0.05)


def test_pictures_without_a_face_have_no_features(networks: Networks, without_networks: Networks) -> None:
    found = picture_features([face_picture(0), face_picture(1, (6, 8, 40))], networks)
    assert isinstance(found, np.ndarray)
    assert found.shape == (1, 16)
    none = face_features(Sight(video([face_picture(n) for n in range(3)]), networks))
    assert isinstance(none, np.ndarray)
    assert len(none) == 0
    assert face_features(Sight(video([REFERENCE]), networks)) == Absent("no frame was drawn beside the given one")
    assert picture_features([REFERENCE], without_networks) == Absent("no faces")
