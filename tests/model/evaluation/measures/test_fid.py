"""FID: the Frechet distance of two distributions; ConsisID's, which is another thing, under its own name."""

import numpy as np
import pytest
import torch
from PIL import Image as PilImage
from torch import nn

from model.evaluation.measures.facesim import evenly_spaced
from model.evaluation.measures.fid import consisid_fid, face_features, fid, frechet_distance, picture_features
from model.evaluation.measures.inception import InceptionVectors
from model.evaluation.measures.networks import Networks
from model.evaluation.measures.published_faces import aligned_face
from model.evaluation.measures.record import Absent
from model.face_engine.interface import Image
from tests.model.evaluation.measures.invented import FrameFinder, face_picture, networks_of, taken, video

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
    for of, found, enough, told in (
        (drawn, real, 31, "30 drawn"),
        (drawn, real[:29], 30, "29 real"),
        ([], real, 2048, "0 drawn"),
    ):
        with pytest.raises(Absent, match=f"FID takes {enough} drawn and as many real faces; there are {told} ones"):
            fid(of, found, enough=enough)


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
    found = consisid_fid(video(frames, networks, reference=REFERENCE))
    assert found == pytest.approx(_published_consisid(frames, convolved), rel=1e-4)
    same = consisid_fid(video([REFERENCE] * 3, networks, reference=REFERENCE))
    assert same == pytest.approx(0, abs=1e-9)


def test_consisids_is_absent_where_their_code_says_0(networks: Networks) -> None:
    noise = [face_picture(number) for number in range(3)]
    assert taken(consisid_fid, video(noise, networks)) == "none of 16 frames shows a face"
    unshown = video(noise, networks, reference=noise[0])
    assert taken(consisid_fid, unshown) == "the reference picture shows no face to SCRFD"
    assert "inception_v3" in str(taken(consisid_fid, video(noise)))


def test_features_are_of_drawn_faces_and_of_pixels_as_the_weights_want_them(networks: Networks, convolved: nn.Module) -> None:
    frames = [face_picture(number, *([] if number == 2 else [(6, 8, 40)])) for number in range(4)]
    found = face_features(video(frames, networks))
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


def test_pictures_without_a_face_have_no_features(networks: Networks) -> None:
    found = picture_features([face_picture(0), face_picture(1, (6, 8, 40))], networks)
    assert isinstance(found, np.ndarray)
    assert found.shape == (1, 16)
    none = face_features(video([face_picture(n) for n in range(3)], networks))
    assert isinstance(none, np.ndarray)
    assert len(none) == 0
    assert taken(face_features, video([REFERENCE], networks)) == "no frame was drawn beside the given one"
    with pytest.raises(Absent, match="buffalo_l"):
        picture_features([REFERENCE], networks_of())
