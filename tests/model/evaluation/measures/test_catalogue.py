"""All measures at once: each has a value or a reason, and none is NaN."""

import math
from dataclasses import replace

import numpy as np
import pytest

from model.evaluation.measures import catalogue
from model.evaluation.measures.catalogue import MEASURES, all_of, over_all
from model.evaluation.measures.networks import NAMES, Networks
from model.evaluation.measures.record import Absent, Measure
from tests.model.evaluation.measures.invented import face_picture, frame_face, video

FRAMES = [face_picture(number, (6, 8, 40)) for number in range(9)]
FACES = [frame_face(yaw_deg=5.0 * number, mouth_opening=0.1 * (number % 2)) for number in range(8)]


def test_every_measure_has_a_value_where_everything_is_there(networks: Networks) -> None:
    found = all_of(video(FRAMES, faces=FACES, lip_borders=(0.012, 0.03)), networks)
    assert tuple(found.values) == tuple(measure.name for measure in MEASURES)
    assert not [value for value in found.values.values() if isinstance(value, Absent)]
    assert isinstance(found.features, np.ndarray)
    assert found.features.shape == (16, 16)


def test_without_networks_those_that_need_none_are_left(without_networks: Networks) -> None:
    found = all_of(video(FRAMES, faces=FACES, lip_borders=(0.012, 0.03)), without_networks).values
    assert {measure.name for measure in MEASURES if not isinstance(found[measure.name], Absent)} == {
        measure.name for measure in MEASURES if not measure.networks
    }


def test_names_are_unique_and_networks_known() -> None:
    names = [measure.name for measure in MEASURES]
    assert len(set(names)) == len(names)
    assert {network for measure in MEASURES for network in measure.networks} == set(NAMES)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_what_is_no_number_is_absent(monkeypatch: pytest.MonkeyPatch, without_networks: Networks, broken: float) -> None:
    measure = Measure("broken", "", None, (), "", lambda sight: broken)
    monkeypatch.setattr(catalogue, "MEASURES", (measure,))
    assert all_of(video(FRAMES), without_networks).values == {"broken": Absent(f"it came out as {broken}")}


def test_fid_is_over_all_videos_or_absent() -> None:
    rng = np.random.default_rng(0)
    drawn = [rng.normal(size=(1100, 4)).astype(np.float16) for _ in range(2)]
    real = rng.normal(size=(2100, 4)).astype(np.float16)
    found = over_all(drawn, real)["fid"]
    assert found == pytest.approx(0, abs=0.05)
    assert over_all([drawn[0], Absent("no inception")], real) == {"fid": Absent("no inception")}
    assert over_all(drawn, Absent("no faces")) == {"fid": Absent("no faces")}
    too_few = over_all(drawn[:1], real)["fid"]
    assert isinstance(too_few, Absent)


def test_a_given_frame_alone_is_worth_nothing_to_ours(networks: Networks) -> None:
    """The person in the given frame, noise in all others: ours find nobody; the published ones count the given frame."""
    frames = [FRAMES[0], *(face_picture(number) for number in range(8))]
    found = all_of(video(frames, faces=[None] * 8, reference=FRAMES[0]), networks).values
    nobody = Absent("no drawn frame shows a face")
    assert (found["temporal_consistency"], found["multi_view_similarity"]) == (nobody, nobody)
    assert found["consisid_facesim_arc"] == pytest.approx(1)
    replaced = all_of(video([frames[1], *frames[1:]], faces=[None] * 8, reference=FRAMES[0]), replace(networks)).values
    assert replaced["consisid_facesim_arc"] == 0
