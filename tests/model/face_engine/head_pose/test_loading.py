"""Head pose networks by the kind of their model."""

import pytest

from model.face_engine.head_pose.fsanet import FsaNet
from model.face_engine.head_pose.loading import load_head_pose
from model.face_engine.head_pose.sixdrepnet import SixDRepNet
from model.model_store.store import ModelStore


def test_each_model_has_its_network(real_store: ModelStore, store_6drepnet: ModelStore) -> None:
    assert isinstance(load_head_pose(real_store.require("fsanet")), FsaNet)
    assert isinstance(load_head_pose(store_6drepnet.require("6drepnet")), SixDRepNet)


def test_a_detector_gives_no_head_pose(real_store: ModelStore) -> None:
    with pytest.raises(ValueError, match="scrfd_2.5g is a model for detector, not for head pose"):
        load_head_pose(real_store.require("scrfd_2.5g"))
