"""FSA-Net by the protocol that made the published table."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image as PilImage

from model.face_engine.head_pose.fsanet import FsaNet
from model.face_engine.rotations import angles_from_rotation
from model.model_store.store import ModelStore

PHOTOS = {
    "still_B_yaw+30__intel_gaze_demo_f75.jpg": (30, -5, -3),
    "still_B_yaw-45__intel_gaze_demo_f555.jpg": (-41, 9, -7),
    "human_emoB_2.jpg": (23, -22, -14),
}
"""Yaw, pitch and roll of SOURCES.md, whole degrees."""


@pytest.fixture(scope="module")
def fsanet(real_store: ModelStore) -> FsaNet:
    return FsaNet(real_store.require("fsanet"))


@pytest.fixture(scope="module")
def judge(testdata: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("pose_protocol", testdata / "verify.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def face_of(judge: ModuleType, testdata: Path):
    detector, _, pair, _ = judge.load()

    def find(name: str) -> tuple[np.ndarray, tuple[float, ...], np.ndarray]:
        image = np.asarray(PilImage.open(testdata / "photos" / name).convert("RGB"))
        bgr = np.ascontiguousarray(image[..., ::-1])
        box = judge.detect(detector, bgr)[0][0]
        return image, tuple(float(edge) for edge in box[:4]), judge.pose(pair, bgr, box)

    return find


@pytest.mark.parametrize("name", PHOTOS)
def test_angles_are_those_of_the_protocol(fsanet: FsaNet, face_of, name: str) -> None:
    image, box, expected = face_of(name)
    (rotation,) = fsanet.rotations([image], [box])
    assert rotation is not None
    assert angles_from_rotation(rotation) == pytest.approx(tuple(expected), abs=0.01)
    assert angles_from_rotation(rotation) == pytest.approx(PHOTOS[name], abs=1.0)


@pytest.mark.parametrize("name", PHOTOS)
def test_a_mirrored_face_turns_the_other_way(fsanet: FsaNet, face_of, name: str) -> None:
    image, (x1, y1, x2, y2), _ = face_of(name)
    width = image.shape[1]
    mirrored = np.ascontiguousarray(image[:, ::-1])
    rotations = fsanet.rotations([image, mirrored], [(x1, y1, x2, y2), (width - x2, y1, width - x1, y2)])
    (yaw, pitch, roll), other = (angles_from_rotation(rotation) for rotation in rotations)
    assert other == pytest.approx((-yaw, pitch, -roll), abs=6)


def test_a_box_without_area_has_no_pose_and_keeps_the_others_in_place(fsanet: FsaNet, face_of) -> None:
    image, box, _ = face_of("human_emoB_2.jpg")
    first, none, third = fsanet.rotations([image] * 3, [box, (5, 5, 5, 9), box])
    assert none is None
    np.testing.assert_array_equal(first, third)


def test_it_says_what_it_is(fsanet: FsaNet) -> None:
    assert (fsanet.name, fsanet.licence) == ("fsanet", "MIT")
    assert len(fsanet.fingerprint) == 64
