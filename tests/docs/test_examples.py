"""What the pages on extending LaFID tell to write does what they say."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from lafid_assets.constraints.policies import FacePolicy, load_policy
from lafid_assets.lafid_toml.settings_check import check
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.schemas import LAFID_DATASET, REFERENCE_CROPS
from resources.lake.lake import Lake
from tests.docs.pages import block, blocks


def _written(page: str) -> dict[str, Any]:
    """The names that the page's Python defines, block after block."""
    names: dict[str, Any] = {"__name__": page}
    for each in blocks():
        if (each.page, each.language) == (page, "python"):
            exec(each.text, names)
    return names


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "close_ups.toml"
    file.write_text(block("write-a-policy.md", "toml"))
    return file


def test_the_policy_is_cofe_but_for_its_lines(policy: Path) -> None:
    read = load_policy(str(policy))
    said = {"name": "close_ups", "face_height_share_min": 0.35, "several_faces_share_max": 0.0}
    assert read == FacePolicy(**said, pose_variation_min_deg=60.0, pose_spread_min_deg=40.0)


def test_the_settings_name_the_policy_and_change_it(policy: Path) -> None:
    (policy.parent / "lafid.toml").write_text(block("write-a-policy.md", "toml", 1))
    told = SettingsFile.of(policy.parent).face_policy()
    assert (told.name, told.face_height_share_min, told.sharpness_min) == ("close_ups+", 0.35, None)


@pytest.mark.parametrize("text", [each.text for each in blocks() if each.language == "toml" and "\n[" in f"\n{each.text}"])
def test_every_piece_of_a_settings_file_is_one(text: str, policy: Path) -> None:
    (policy.parent / "lafid.toml").write_text(text)
    check(SettingsFile.of(policy.parent))


def test_the_check_finds_what_it_names(row_of: Callable[..., dict[str, Any]]) -> None:
    written = _written("write-a-check.md")
    rows = [row_of(REFERENCE_CROPS, clip_id=clip, reference_index=index) for clip, index in (("a", 0), ("a", 1), ("b", 0))]
    failed = row_of(REFERENCE_CROPS, clip_id="c", reference_index=0, status="error", reason="decode_failed")
    frame = REFERENCE_CROPS.frame([*rows, failed])
    looks = written["STEP"].checks["two_references_each"]
    assert looks({"reference_crops": frame}) == ["clip b has 1 reference face"]
    assert looks({"reference_crops": frame.filter(pl.col("clip_id") != "b")}) == []


def test_dagster_shows_the_check_and_it_blocks() -> None:
    step = _written("write-a-check.md")["STEP"]
    [spec] = [spec for spec in step.arguments(deps=[])["check_specs"] if spec.name == "two_references_each"]
    assert spec.blocking
    assert spec.description.startswith("Every clip with pictures has at least two reference faces")


def test_the_check_of_the_dataset_warns(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> None:
    looks = _written("write-a-check.md")["_largest_person"]

    def judged(*persons: str) -> tuple[bool, str, dict[str, float]]:
        rows = [row_of(LAFID_DATASET, clip_id=str(number), identity_id=person) for number, person in enumerate(persons)]
        lake.put({LAFID_DATASET.name: LAFID_DATASET.frame(rows)})
        with lake.snapshot() as reader:
            return looks(SimpleNamespace(reader=reader))

    assert judged(*"aabcd") == (False, "the person with most clips has 40% of them", {"largest_person_share": 0.4})
    assert judged(*"abcde")[0]
    assert judged() == (True, "nothing to judge: the dataset holds nobody", {})


def test_the_engine_is_one(portrait: NDArray[np.uint8]) -> None:
    engine = _written("write-an-engine.md")["GreyEngine"]()
    [face] = engine.detect(portrait)
    assert face.embedding is not None
    assert face.embedding.shape == (engine.info.embedding_dim,)
    assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-4)
    assert face.angles is not None
    [same] = engine.detect_many([portrait])[0]
    assert np.array_equal(same.embedding, face.embedding)
    [cheap] = engine.detect(portrait, embed=False)
    assert (cheap.embedding, cheap.box_xyxy_px) == (None, face.box_xyxy_px)
    assert engine.glance(portrait, side_px=640)
    followed = engine.landmarks(portrait, face.box_xyxy_px)
    assert followed is not None
    assert followed.embedding is None
    assert engine.detect(np.zeros_like(portrait)) == []
    assert engine.landmarks(np.zeros_like(portrait)) is None


def test_an_engine_with_another_code_version_is_another() -> None:
    written = _written("write-an-engine.md")
    before = written["GreyEngine"]().info.fingerprint
    written["CODE_VERSION"] = 2
    assert written["GreyEngine"]().info.fingerprint != before
