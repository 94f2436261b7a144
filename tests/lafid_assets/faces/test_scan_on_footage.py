"""The scan with real networks on real footage: what it may drop, what it must not."""

from pathlib import Path

import pytest

from lafid_assets.faces.scan import ScannedClip, scan_clip
from lafid_assets.faces.settings import ScanMargins
from lafid_assets.outcomes import Reason
from model.face_engine.insightface_engine import InsightfaceEngine
from model.face_engine.interface import FaceEngine
from model.face_engine.selection import choose_parts
from model.model_store.store import ModelStore


@pytest.fixture(scope="module")
def engine(real_store: ModelStore) -> FaceEngine:
    return InsightfaceEngine(choose_parts(real_store))


@pytest.fixture
def scanned(engine: FaceEngine, testdata: Path, request: pytest.FixtureRequest) -> ScannedClip:
    return scan_clip("a", "shard-00000", testdata / "clips" / request.param, ScanMargins(), engine)


@pytest.mark.parametrize(
    ("scanned", "verdict"),
    [
        ("pyfeat_no_face.mp4", Reason.NO_FACE),
        ("intel_head-pose-face-detection-female-and-male.gif", Reason.SEVERAL_FACES),
        ("derived_static_face_speech.mp4", Reason.STATIC),
        ("liveportrait_d0.mp4", Reason.POSE_VARIATION_LOW),
    ],
    indirect=["scanned"],
)
def test_the_hopeless_are_dropped_by_name(scanned: ScannedClip, verdict: Reason) -> None:
    assert scanned.verdict == verdict
    assert all(face["embedding"] is face["rotation"] is None for face in scanned.faces)


@pytest.mark.parametrize(
    "scanned",
    [
        "derived_yaw_sweep_pm60.mp4",
        "pyfeat_noface_face.mov",
        "liveportrait_d3.mp4",
        "intel_head-pose-face-detection-female.gif",
        "liveportrait_src_s13.mp4",
    ],
    indirect=True,
)
def test_what_a_policy_might_keep_is_passed_on(scanned: ScannedClip) -> None:
    """A head that turns; one that comes late; one that fills nearly every frame, which only a border shows; one that
    is small for the height of a vertical picture and not for its width."""
    assert scanned.verdict is None
    assert scanned.faces
