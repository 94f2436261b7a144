"""All measures at once: each has a value or a reason, and none is NaN."""

import math

import numpy as np
import pytest

from lafid_assets.schemas.evaluation import MEASURES as COLUMNS
from model.evaluation.measures import catalogue
from model.evaluation.measures.catalogue import MEASURES, all_of
from model.evaluation.measures.networks import Networks
from tests.model.evaluation.measures.invented import face_picture, frame_face, video

FRAMES = [face_picture(number, (6, 8, 40)) for number in range(9)]
FACES = [frame_face(yaw_deg=5.0 * number, mouth_opening=0.1 * (number % 2)) for number in range(8)]


def test_every_measure_has_a_value_where_everything_is_there(networks: Networks) -> None:
    found = all_of(video(FRAMES, networks, faces=FACES, lip_borders=(0.012, 0.03)))
    assert tuple(found.values) == tuple(MEASURES)
    assert set(MEASURES) == {column.name for column in COLUMNS}
    assert not found.absent
    assert isinstance(found.features, np.ndarray)
    assert found.features.shape == (16, 16)


def test_without_networks_those_that_need_none_are_left() -> None:
    found = all_of(video(FRAMES, faces=FACES, lip_borders=(0.012, 0.03)))
    ours = {"pose_range_deg", "yaw_reached_deg", "motion_amplitude", "motion_smoothness", "lip_activity", "lip_agreement"}
    assert set(found.values) == ours | {"multi_view_similarity", "temporal_consistency"}
    assert set(found.absent) == {*MEASURES, "fid"} - set(found.values)
    assert found.features is None


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_what_is_no_number_is_absent(monkeypatch: pytest.MonkeyPatch, broken: float) -> None:
    monkeypatch.setattr(catalogue, "MEASURES", {"broken": lambda video: broken})
    found = all_of(video(FRAMES))
    assert (found.values, found.absent["broken"]) == ({}, f"it came out as {broken}")


def test_a_given_frame_alone_is_worth_nothing_to_ours(networks: Networks) -> None:
    """The person in the given frame, noise in all others: ours find nobody; the published ones count the given frame."""
    frames = [FRAMES[0], *(face_picture(number) for number in range(8))]
    found = all_of(video(frames, networks, faces=[None] * 8, reference=FRAMES[0]))
    nobody = "no drawn frame shows a face"
    assert (found.absent["temporal_consistency"], found.absent["multi_view_similarity"]) == (nobody, nobody)
    assert found.values["consisid_facesim_arc"] == pytest.approx(1)
    replaced = all_of(video([frames[1], *frames[1:]], networks, faces=[None] * 8, reference=FRAMES[0]))
    assert replaced.values["consisid_facesim_arc"] == 0
