"""FaceSim by ConsisID's and OpenS2V's rules, held against the rules written down anew; and where there is none."""

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from model.evaluation.measures.curricular_face import CurricularVectors
from model.evaluation.measures.facesim import consisid_arc, consisid_cur, evenly_spaced, opens2v_arc, opens2v_cur
from model.evaluation.measures.networks import Networks
from model.evaluation.measures.published_faces import aligned_face
from model.evaluation.measures.record import CaseVideo
from model.face_engine.crops import norm_crop
from model.face_engine.interface import Image
from tests.model.evaluation.measures.invented import FrameFinder, face_picture, networks_of, taken, video

MEASURES = {
    "consisid_facesim_arc": consisid_arc,
    "consisid_facesim_cur": consisid_cur,
    "opens2v_facesim_arc": opens2v_arc,
    "opens2v_facesim_cur": opens2v_cur,
}
REFERENCE = face_picture(0, (8, 8, 40))


def _values(of: CaseVideo) -> dict[str, float | str]:
    return {name: taken(measure, of) for name, measure in MEASURES.items()}


def _frames() -> list[Image]:
    """40 frames: a face; two, of which the second is larger; one that touches the edge; none."""
    kinds = [((8, 8, 40),), ((2, 2, 20), (22, 20, 38)), ((0, 5, 50),), ()]
    return [face_picture(number + 1, *kinds[number % 4]) for number in range(40)]


def _process(picture: Image, finder: FrameFinder) -> tuple[Image, np.ndarray] | None:
    """The published way: sorted by area, the last; a second look with a grey border."""
    found, shift, searched = finder.detect(picture), (0, 0), picture
    if not found:
        height, width = picture.shape[:2]
        shift = (int(width * 0.25), int(height * 0.25))
        searched = cv2.copyMakeBorder(picture, shift[1], shift[1], shift[0], shift[0], cv2.BORDER_CONSTANT, value=(128, 128, 128))
        found = finder.detect(searched)
        if not found:
            return None
    by_area = sorted(found, key=lambda one: (one.box_xyxy_px[2] - one.box_xyxy_px[0]) * (one.box_xyxy_px[3] - one.box_xyxy_px[1]))
    points = by_area[-1].points_px
    return norm_crop(picture, points - np.array(shift, np.float32), 224), finder.embed(searched, points)


def _cosine(a: Any, b: Any) -> float:
    return float(torch.nn.functional.cosine_similarity(torch.as_tensor(a), torch.as_tensor(b), dim=-1))


def _curricular_vector(network: nn.Module, crop: Image) -> np.ndarray:
    pixels = torch.from_numpy(np.transpose(cv2.resize(crop, (112, 112)), (2, 0, 1)))[None].float()
    vector = network(pixels.div_(255).sub_(0.5).div_(0.5)).numpy()[0]
    return vector / np.linalg.norm(vector)  # type: ignore[no-any-return]


def _published(frames: list[Image], count: int, network: nn.Module, *, drops_zeros: bool) -> tuple[float, float]:
    """(cur, arc), as the two scripts compute them frame by frame."""
    finder, cur, arc = FrameFinder(), [], []
    known = _process(REFERENCE, finder)
    assert known is not None
    for index in np.linspace(0, len(frames) - 1, count, dtype=int):
        face = _process(frames[index], finder)
        if face is None:
            continue
        score = max(0.0, _cosine(_curricular_vector(network, known[0]), _curricular_vector(network, face[0])))
        if score != 0.0 or not drops_zeros:
            cur.append(score)
        arc.append(max(0.0, _cosine(known[1], face[1])))
    return float(np.mean(cur)) if cur else 0.0, float(np.mean(arc)) if arc else 0.0


def test_both_rules_are_the_published_ones(networks: Networks, curricular: nn.Module) -> None:
    frames = _frames()
    found = _values(video(frames, networks, reference=REFERENCE))
    for name, count, drops in (("consisid", 16, False), ("opens2v", 32, True)):
        cur, arc = _published(frames, count, curricular, drops_zeros=drops)
        assert 0 < arc < 1
        assert found[f"{name}_facesim_arc"] == pytest.approx(arc, abs=1e-5)
        assert found[f"{name}_facesim_cur"] == pytest.approx(cur, abs=1e-5)
    assert found["consisid_facesim_arc"] != found["opens2v_facesim_arc"]


def test_the_rules_part_over_frames_worth_nothing() -> None:
    """By hand: cosines 1, 1/2 and -1; the last is worth 0, which OpenS2V's CurricularFace alone leaves out."""
    vectors = np.array([[2.0, 0], [3, 0], [0.5, np.sqrt(0.75)], [-1, 0]], np.float32)
    frames = [face_picture(number, (8, 8, 40)) for number in range(3)]

    class Told(FrameFinder):
        def embed(self, image_rgb: Image, points_px: np.ndarray) -> np.ndarray:
            return vectors[next(n for n, one in enumerate([other, *frames]) if np.array_equal(one, image_rgb))]

    other = face_picture(99, (8, 8, 40))
    told = networks_of(faces=Told(), curricular=lambda crops: vectors[[0, *_repeated(len(crops) - 1)]])
    found = _values(video(frames, told, reference=other))
    shares = {count: np.bincount(evenly_spaced(3, count), minlength=3) / count for count in (16, 32)}
    expected = {count: float(share @ [1, 0.5, 0]) for count, share in shares.items()}
    assert found["consisid_facesim_arc"] == found["consisid_facesim_cur"] == pytest.approx(expected[16])
    assert found["opens2v_facesim_arc"] == pytest.approx(expected[32])
    assert found["opens2v_facesim_cur"] == pytest.approx(expected[32] / (1 - shares[32][2]))


def _repeated(count: int) -> list[int]:
    return [1 + index for index in evenly_spaced(3, count)]


def test_frames_are_evenly_spaced_and_rounded_down() -> None:
    assert evenly_spaced(49, 16) == [0, 3, 6, 9, 12, 16, 19, 22, 25, 28, 32, 35, 38, 41, 44, 48]
    assert evenly_spaced(3, 5) == [0, 0, 1, 1, 2]


def test_a_face_at_the_edge_is_found_on_the_second_try() -> None:
    finder = FrameFinder()
    face = aligned_face(face_picture(1, (0, 5, 50)), finder)
    assert finder.searched == [(64, 64), (96, 96)]
    assert face is not None
    assert (face.crop.shape, face.arcface.shape) == ((224, 224, 3), (8,))
    assert aligned_face(face_picture(1), finder) is None


def test_each_frame_is_searched_once_for_all_measures(curricular: nn.Module) -> None:
    finder = FrameFinder()
    frames = [face_picture(number, (8, 8, 40)) for number in range(5)]
    _values(video(frames, networks_of(faces=finder, curricular=CurricularVectors(curricular, "cpu")), reference=REFERENCE))
    assert len(finder.searched) == 1 + 5


def test_a_video_without_a_face_is_nobody_to_both(networks: Networks) -> None:
    noise = [face_picture(number) for number in range(4)]
    assert set(_values(video(noise, networks)).values()) == {0.0}


def test_what_cannot_be_computed_is_absent(networks: Networks) -> None:
    frames = _frames()
    blind = _values(video(frames, networks, reference=face_picture(5)))
    assert set(blind.values()) == {"the reference picture shows no face to SCRFD"}
    assert all("buffalo_l" in str(value) for value in _values(video(frames)).values())
    half = _values(video(frames, networks_of(faces=FrameFinder())))
    assert [name for name, value in half.items() if "curricularface_ir101" in str(value)] == [
        "consisid_facesim_cur",
        "opens2v_facesim_cur",
    ]
    assert set(_values(video(np.empty((0, 8, 8, 3)), networks)).values()) == {"the video has no frames"}
