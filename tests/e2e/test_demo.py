"""The whole road on the sample footage: what `make demo` promises."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lafid_assets.cli.demo import PROMPT
from lafid_assets.sample_footage.manifest import MANIFEST_NAME, SampleClip, SampleManifest
from model.encoding.video_io import fit_frames, read_frames
from model.training.metrics import psnr
from tests.demo_home import Demo, run_lafid

pytestmark = pytest.mark.e2e


def test_funnel_sums_and_agrees_with_the_footage(demo: Demo) -> None:
    funnel = json.loads(run_lafid(demo.home, "funnel", "--json").stdout)
    ended = funnel["kept"] + funnel["timeout"]
    ended += sum(clips for status in ("rejected", "error", "skipped") for clips in funnel[status].values())
    assert ended == funnel["in"]
    assert funnel["in"] >= 16
    assert funnel["kept"] >= 5
    assert {"no_face", "several_faces", "face_too_small", "pose_variation_low"} <= set(funnel["rejected"])
    assert funnel["skipped"] == {"file_missing": 1, "no_row": 1, "split": 2}
    assert (funnel["recordings"], funnel["shots"]) == (2, 4)
    assert {"empty_file"} <= set(funnel["error"])
    assert len(demo.rows("SELECT DISTINCT shard FROM raw_clips")) >= 2


def test_every_scene_ends_as_it_was_made_to(demo: Demo) -> None:
    expected = _screenplay(demo)
    kept = {clip for (clip,) in demo.rows("SELECT clip_id FROM lafid_dataset")}
    shots = demo.rows("SELECT recording_id FROM lafid_dataset WHERE recording_id IS NOT NULL")
    assert sorted(shots) == sorted(2 * [(clip,) for clip, scene in expected.items() if scene.expected_outcome == "skipped:split"])
    ended = {
        clip: f"{status}:{reason}"
        for table in ("raw_clips", "face_clips", "pose_filtered_clips", "id_consistent_clips")
        for clip, status, reason in demo.rows(f"SELECT clip_id, status, reason FROM {table} WHERE reason <> 'upstream'")
    }
    seen = {clip: "kept" if clip in kept else ended[clip] for clip in expected}
    assert seen == {clip: scene.expected_outcome for clip, scene in expected.items()}


def test_speech_is_told_apart(demo: Demo) -> None:
    expected = _screenplay(demo)
    tagged = dict(demo.rows("SELECT clip_id, speaking_status FROM lafid_dataset WHERE recording_id IS NULL"))
    assert tagged == {
        clip: scene.expected_speaking_status for clip, scene in expected.items() if scene.expected_outcome == "kept"
    }
    assert {"on_screen", "off_screen", "silent", "no_audio"} <= set(tagged.values())


def test_persons_are_told_apart_and_split_whole(demo: Demo) -> None:
    expected = _screenplay(demo)
    rows = demo.rows("SELECT clip_id, recording_id, start_s, identity_id, split FROM lafid_dataset")
    persons: dict[str, set[str]] = {}
    for clip, recording, start_s, identity, _ in rows:
        shown = expected[str(recording or clip)].persons
        persons.setdefault(str(identity), set()).update(shown if recording is None else shown[:1] if start_s == 0 else shown[1:])
    assert all(len(names) == 1 for names in persons.values())
    assert len(persons) == len({name for names in persons.values() for name in names}) >= 4
    splits: dict[str, set[str]] = {}
    for *_, identity, split in rows:
        splits.setdefault(str(identity), set()).add(str(split))
    assert all(len(sides) == 1 for sides in splits.values())
    assert {"train", "test"} <= {side for sides in splits.values() for side in sides}


def test_training_lowers_the_loss_and_the_model_is_champion(demo: Demo) -> None:
    ((before, after, steps),) = demo.rows("SELECT loss_before, loss_after, steps FROM fusion_dit")
    assert after <= 0.8 * before
    assert steps > 0
    assert demo.rows("SELECT model_name, alias, gate FROM registered_model") == [("lafid", "champion", "passed")]


def test_nothing_registered_is_pickled(demo: Demo) -> None:
    suffixes = {path.suffix for path in (demo.home / "mlflow").rglob("*") if path.is_file()}
    assert ".safetensors" in suffixes
    assert not suffixes & {".pkl", ".pickle", ".pt", ".pth", ".bin"}


def test_video_begins_with_the_image(demo: Demo) -> None:
    (video,) = (demo.home / "demo").glob("*.mp4")
    first = read_frames(video, [0.0])
    face = np.asarray(Image.open(demo.home / "demo" / "face.png").convert("RGB"))[None]
    assert psnr(first[0], fit_frames(face, *first.shape[1:3])[0]) >= 30


def test_second_demo_computes_nothing(demo: Demo) -> None:
    before = _contents(demo.home / "store")
    second = run_lafid(demo.home, "demo")
    assert second.returncode == 0, second.stderr
    assert "nothing was computed again" in second.stdout
    assert _contents(demo.home / "store") == before


def test_alias_pulls_and_the_same_seed_gives_the_same_frames(demo: Demo, tmp_path: Path) -> None:
    """The champion is the version that the demo drew with, by its number."""
    again = tmp_path / "again.mp4"
    done = run_lafid(
        demo.home, "generate", "--image", str(demo.home / "demo" / "face.png"), "--prompt", PROMPT, "--out", str(again)
    )
    assert done.returncode == 0, done.stderr
    (before,) = (demo.home / "demo").glob("*.mp4")
    assert np.array_equal(*(read_frames(video, [0.0, 0.5]) for video in (before, again)))


def _screenplay(demo: Demo) -> dict[str, SampleClip]:
    manifest = SampleManifest.model_validate_json((demo.home / "sample_footage" / MANIFEST_NAME).read_text())
    return {clip.clip_id: clip for clip in manifest.clips}


def _contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Without who is at work, which every command writes down, and what SQLite keeps beside its file while it is open."""
    passing = ("-shm", "-wal")
    files = [
        path for path in folder.rglob("*") if path.is_file() and "lease" not in path.name and not path.name.endswith(passing)
    ]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}
