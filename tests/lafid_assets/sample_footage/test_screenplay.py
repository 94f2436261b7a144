"""The screenplay: every case that the issue asks for is filmed."""

from collections import Counter

import pytest

from lafid_assets.outcomes import REASONS
from lafid_assets.sample_footage.persons import PERSONS
from lafid_assets.sample_footage.scenes import Fault, Scene
from lafid_assets.sample_footage.screenplay import KEPT, SCENES


def test_there_are_enough_clips_of_the_right_length() -> None:
    whole = [scene for scene in SCENES if scene.fault in (None, Fault.NO_ROW)]
    assert len(whole) >= 16
    assert all(2 <= scene.duration_s <= 5 for scene in whole)
    assert {scene.fps for scene in whole} == {24, 25}


def test_names_and_ids_are_unique() -> None:
    assert len({scene.name for scene in SCENES}) == len(SCENES)
    assert len({scene.clip_id for scene in SCENES}) == len(SCENES)


def test_enough_is_kept_by_enough_people_one_of_them_twice() -> None:
    clips_of = Counter(scene.persons[0] for scene in KEPT)
    assert len(KEPT) >= 5
    assert len(clips_of) >= 4
    assert max(clips_of.values()) >= 2
    assert all(len(scene.persons) == 1 for scene in KEPT)


def test_every_speaking_status_reaches_the_dataset() -> None:
    assert {scene.speaking_status for scene in KEPT} == {"on_screen", "off_screen", "silent", "no_audio"}
    assert any(scene.speaking_status == "silent" and scene.lips_move for scene in KEPT)


def test_every_way_to_fail_is_there() -> None:
    outcomes = {f"{scene.status}:{scene.reason}" for scene in SCENES if scene not in KEPT}
    assert outcomes == {
        "rejected:no_face",
        "rejected:several_faces",
        "rejected:face_too_small",
        "rejected:pose_variation_low",
        "skipped:split",
        "error:unreadable",
        "error:empty_file",
        "skipped:file_missing",
        "skipped:no_row",
    }


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_scene_is_consistent(scene: Scene) -> None:
    assert (scene.reason is None and not REASONS[scene.status]) or scene.reason in REASONS[scene.status]
    assert set(scene.persons) <= set(PERSONS)
    assert scene.size[0] % 2 == scene.size[1] % 2 == 0
    assert scene.path == f"clips/part_001/{scene.clip_id[:2]}/{scene.clip_id[2:4]}/{scene.clip_id}"
    assert len(scene.path) == 53
    if scene.fault != Fault.NO_ROW:
        assert scene.caption.startswith("The video features ")
        assert 137 <= len(scene.caption) <= 1530


def test_some_captions_contradict_the_sound() -> None:
    claims_silence = [s for s in KEPT if s.speaking_status == "on_screen" and ("silent" in s.caption or "not say" in s.caption)]
    claims_speech = [s for s in KEPT if s.speaking_status in ("off_screen", "silent") and "talks to" in s.caption]
    assert claims_silence
    assert claims_speech
