"""What is no figure: each demand in each of its verdicts."""

import math

import pytest

from lafid_assets.release import demands
from lafid_assets.release.gates import Finding
from lafid_assets.release.licences import Licensed

CLIPS = Licensed("clips OpenHumanVid", "CC-BY-NC-ND-4.0")
ENGINE = Licensed("face engine dlib", "non-commercial-research")
BASE = Licensed("base wan", "Apache-2.0")
OWN = Licensed("clips folder", "unstated")
DOMAIN = Licensed("clips NASA", "public-domain")


@pytest.mark.parametrize(
    ("found", "verdict", "said"),
    [
        (demands.unseen([], ""), "passed", "nothing of the bench was trained on"),
        (demands.unseen(["one leaks", "two leaks"], ""), "refused", "holds: one leaks, and 1 more"),
        (demands.unseen(None, "there is no bench"), "undecided", "is not known: there is no bench"),
        (demands.weights(None), "passed", "every tensor is finite"),
        (demands.weights("tensor a is not finite"), "refused", "tensor a is not finite"),
        (demands.reload(["a" * 64] * 2, None), "passed", "a" * 64),
        (demands.reload(["a" * 64, "b" * 64], None), "refused", "aaaaaaaaaaaa and bbbbbbbbbbbb"),
        (demands.reload([], "it crashed"), "refused", "could not draw with it: it crashed"),
        (demands.reload([], None), "refused", "different frames"),
        (demands.licences([CLIPS, ENGINE, BASE], "research"), "passed", "research use is allowed by all 3 parts"),
        (demands.licences([DOMAIN, BASE], "commercial"), "passed", "commercial use is allowed by all 2 parts"),
        (
            demands.licences([CLIPS, ENGINE, BASE, OWN], "commercial"),
            "refused",
            "forbidden by clips OpenHumanVid: CC-BY-NC-ND-4.0; face engine dlib: non-commercial-research",
        ),
        (demands.licences([BASE, OWN], "commercial"), "undecided", "is not said by clips folder: unstated"),
        (demands.nobody_forgotten("v1", 0), "passed", "nobody of dataset version v1"),
        (demands.nobody_forgotten("v1", 2), "refused", "2 clips of dataset version v1 were forgotten since: train it anew"),
        (demands.nobody_forgotten("v1", None), "undecided", "v1 is not in this lake"),
    ],
)
def test_every_demand_says_what_it_found(found: Finding, verdict: str, said: str) -> None:
    assert found.verdict == verdict
    assert said in found.sentence
    assert all(figure is None or (isinstance(figure, float) and math.isfinite(figure)) for figure in (found.figure, found.bound))
