"""The footage as files: layout, wholeness, the same bytes every time."""

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.provenance import SOURCE_FILE
from lafid_assets.outcomes import Reason, Status
from lafid_assets.sample_footage import FolderOccupied, build_sample_footage
from lafid_assets.sample_footage.build import TABLE_NAME, film
from lafid_assets.sample_footage.manifest import MANIFEST_NAME, SampleManifest
from lafid_assets.sample_footage.render import Studio
from lafid_assets.sample_footage.scenes import Appearance, Fault, Scene, Shot, Sound

VEGA = (Shot(duration_s=0.5, people=(Appearance(person="vega", scale=0.6),)),)
SHORT = {"size": (320, 240), "caption": "The video features a test."}
SCENES = (
    Scene(name="test voice", shots=VEGA, sound=Sound.VOICE, lips_move=True, **SHORT),
    Scene(name="test cut short", shots=VEGA, fault=Fault.TRUNCATED, status=Status.ERROR, reason=Reason.UNREADABLE, **SHORT),
    Scene(name="test empty", fault=Fault.EMPTY, status=Status.ERROR, reason=Reason.EMPTY_FILE, **SHORT),
    Scene(name="test lost", fault=Fault.NO_FILE, status=Status.SKIPPED, reason=Reason.FILE_MISSING, **SHORT),
    Scene(name="test spare", shots=VEGA, fault=Fault.NO_ROW, status=Status.SKIPPED, reason=Reason.NO_ROW, **SHORT),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SampleManifest]:
    folder = tmp_path_factory.mktemp("home") / "sample_footage"
    return folder, build_sample_footage(folder, scenes=SCENES, workers=1)


def test_the_layout_is_openhumanvids(built: tuple[Path, SampleManifest]) -> None:
    folder, manifest = built
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    clips = {scene.path for scene in SCENES if scene.fault != Fault.NO_FILE}
    assert files == clips | {TABLE_NAME, MANIFEST_NAME, SOURCE_FILE}
    listed = {row["released_id"]: row for row in list_files(folder).iter_rows(named=True)}
    assert {(row["source"], row["licence"]) for row in listed.values()} == {("LaFID sample footage", "public-domain")}
    assert set(listed) == {clip.clip_id for clip in manifest.clips}
    assert [listed[scene.clip_id]["in_table"] for scene in SCENES] == [True, True, True, True, False]


def test_the_manifest_states_every_clip_and_its_hash(built: tuple[Path, SampleManifest]) -> None:
    folder, manifest = built
    assert [clip.expected_outcome for clip in manifest.clips] == [
        "kept",
        "error:unreadable",
        "error:empty_file",
        "skipped:file_missing",
        "skipped:no_row",
    ]
    for clip in manifest.clips:
        file = folder / clip.path
        assert clip.sha256 == (hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None)
    assert manifest.clips[0].expected_speaking_status == "on_screen"


def test_faults_are_in_the_files(built: tuple[Path, SampleManifest], studio: Studio) -> None:
    folder, _ = built
    _, cut_short, empty, lost, _ = SCENES
    whole = film(cut_short.model_copy(update={"fault": None}), studio)
    truncated = (folder / cut_short.path).read_bytes()
    assert 0 < len(truncated) < len(whole)
    assert whole.startswith(truncated)
    assert (folder / empty.path).stat().st_size == 0
    assert not (folder / lost.path).exists()


@pytest.mark.parametrize(("sound", "streams"), [(Sound.VOICE, 1), (Sound.AMBIENCE, 1), (Sound.NO_STREAM, 0)])
def test_a_clip_has_the_sound_of_its_scene(studio: Studio, sound: Sound, streams: int) -> None:
    scene = Scene(name="test sound", shots=(Shot(duration_s=0.5),), sound=sound, **SHORT)
    with av.open(io.BytesIO(film(scene, studio))) as container:
        assert len(container.streams.audio) == streams
        heard = [frame.to_ndarray() for frame in container.decode(audio=0)] if streams else []
    assert bool(heard) == bool(streams)
    assert all(np.abs(block).max() > 0 for block in heard[:-1])


def test_another_process_writes_the_same_bytes(built: tuple[Path, SampleManifest], tmp_path: Path) -> None:
    folder, manifest = built
    script = (
        "import sys; from pathlib import Path\n"
        "from lafid_assets.sample_footage import build_sample_footage, SampleManifest\n"
        "from lafid_assets.sample_footage.scenes import Scene\n"
        "if __name__ == '__main__':\n"
        "    scenes = tuple(Scene.model_validate_json(line) for line in Path(sys.argv[1]).read_text().splitlines())\n"
        "    build_sample_footage(Path(sys.argv[2]), scenes=scenes, workers=2)\n"
    )
    (tmp_path / "build_again.py").write_text(script)
    (tmp_path / "scenes.jsonl").write_text("\n".join(scene.model_dump_json() for scene in SCENES))
    again = tmp_path / "again"
    command = [sys.executable, str(tmp_path / "build_again.py"), str(tmp_path / "scenes.jsonl"), str(again)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3], env={"PYTHONPATH": str(Path(__file__).parents[3])})
    assert SampleManifest.model_validate_json((again / MANIFEST_NAME).read_bytes()) == manifest
    for path in folder.rglob("*"):
        if path.is_file():
            assert (again / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_what_is_complete_is_left_alone_and_what_is_not_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "footage"
    only = SCENES[2:3]
    first = build_sample_footage(folder, scenes=only, workers=1)
    made_at = folder.stat().st_ino
    assert build_sample_footage(folder, scenes=only, workers=1) == first
    assert folder.stat().st_ino == made_at
    (folder / only[0].path).write_bytes(b"damaged")
    assert build_sample_footage(folder, scenes=only, workers=1) == first
    assert folder.stat().st_ino != made_at
    assert (folder / only[0].path).read_bytes() == b""


def test_another_recipe_builds_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only = SCENES[2:3]
    before = build_sample_footage(tmp_path / "footage", scenes=only, workers=1)
    monkeypatch.setattr("lafid_assets.sample_footage.build.recipe", lambda: "another")
    after = build_sample_footage(tmp_path / "footage", scenes=only, workers=1)
    assert after.recipe == "another" != before.recipe


def test_somebody_elses_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(b"dear memories")
    with pytest.raises(FolderOccupied, match=r"holds something else than sample footage: name another folder"):
        build_sample_footage(tmp_path, scenes=SCENES[2:3], workers=1)
    assert (tmp_path / "holiday.mp4").read_bytes() == b"dear memories"


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    stranger = Scene(name="test stranger", shots=(Shot(duration_s=0.1, people=(Appearance(person="nobody"),)),), **SHORT)
    with pytest.raises(RuntimeError, match=r"the scene 'test stranger' cannot be filmed: KeyError: 'nobody'"):
        build_sample_footage(tmp_path / "footage", scenes=(stranger,), workers=1)
    assert list(tmp_path.iterdir()) == []
