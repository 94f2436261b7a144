"""Building the sample footage: a folder in the layout of OpenHumanVid, with everything that a real download brings along.

Belongs here: files, their order and their wholeness. Not here: what is filmed (`screenplay`), how (`render`, `voice`,
`encode`).
"""

import shutil
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from lafid_assets.ingest.provenance import SOURCE_FILE, Provenance
from lafid_assets.progress import track
from lafid_assets.sample_footage.encode import encode_mp4
from lafid_assets.sample_footage.face_sheet import fit_landmarks
from lafid_assets.sample_footage.manifest import MANIFEST_NAME, SampleClip, SampleManifest, recipe
from lafid_assets.sample_footage.persons import PERSONS
from lafid_assets.sample_footage.portraits import PORTRAITS
from lafid_assets.sample_footage.render import Landmarks, Studio
from lafid_assets.sample_footage.scenes import Fault, Scene, Sound
from lafid_assets.sample_footage.screenplay import SCENES
from lafid_assets.sample_footage.table import table_csv
from lafid_assets.sample_footage.voice import Speech, ambience, speak
from lafid_assets.workers.exit_reasons import fault_of
from lafid_assets.workers.pool import Children, Done, map_isolated
from model.files import sha256_file, whole_folder

PROVENANCE = Provenance(source="LaFID sample footage", licence="public-domain")
TABLE_NAME = "OpenHumanVid_part_001.csv"

_TRUNCATED_SHARE = 0.6
_NARRATOR_PITCH_HZ = 120.0
_DEADLINE_S = 600.0


class FolderOccupied(FileExistsError):
    """The folder holds something that is not sample footage; the message names it and the remedy."""


def build_sample_footage(folder: Path, *, scenes: tuple[Scene, ...] = SCENES, workers: int | None = None) -> SampleManifest:
    """Write the footage to `folder`, or find it complete there: the same bytes every time.

    Args:
        folder: where table and clips go; it appears when everything is done, not before.
        scenes: what to film.
        workers: processes that film; one a core by default. Their number does not change the result.

    Raises:
        FolderOccupied: `folder` holds something else.
    """
    complete = _read_complete(folder, scenes)
    if complete is not None:
        return complete
    if folder.exists() and not (folder / MANIFEST_NAME).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise FolderOccupied(f"{folder} holds something else than sample footage: name another folder, or empty it")
    with whole_folder(folder) as temporary:
        _film(temporary, scenes, workers)
        table = temporary / TABLE_NAME
        table.write_text(table_csv(scenes), encoding="utf-8", newline="")
        (temporary / SOURCE_FILE).write_text(PROVENANCE.model_dump_json(), encoding="utf-8")
        manifest = SampleManifest(
            recipe=recipe(), table_sha256=sha256_file(table), clips=tuple(_record(temporary, scene) for scene in scenes)
        )
        (temporary / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
    return manifest


def film(scene: Scene, studio: Studio) -> bytes:
    """The bytes of a scene's file, its faults included."""
    if scene.fault == Fault.EMPTY:
        return b""
    speech = _speech(scene) if scene.lips_move or scene.sound == Sound.VOICE else None
    sound = None
    if speech is not None and scene.sound == Sound.VOICE:
        sound = speech.samples
    elif scene.sound == Sound.AMBIENCE:
        sound = ambience(scene.duration_s, scene.seed)
    frames = studio.frames(scene, speech.loudness if speech is not None and scene.lips_move else None)
    file = encode_mp4(frames, scene.fps, scene.size, sound)
    return file[: int(len(file) * _TRUNCATED_SHARE)] if scene.fault == Fault.TRUNCATED else file


def _speech(scene: Scene) -> Speech:
    """What is said in a scene, by its first person or by a narrator."""
    pitch_hz = PERSONS[scene.persons[0]].voice_pitch_hz if scene.persons else _NARRATOR_PITCH_HZ
    return speak(scene.duration_s, pitch_hz, scene.seed)


def portrait_landmarks() -> Landmarks:
    """The landmarks of both sitters, fitted to their portraits."""
    return {name: fit_landmarks(portrait) for name, portrait in PORTRAITS.items()}


def _film(folder: Path, scenes: tuple[Scene, ...], workers: int | None) -> None:
    filmed = [scene for scene in scenes if scene.fault != Fault.NO_FILE]
    longest_first = sorted(filmed, key=lambda scene: -scene.duration_s)
    endings = map_isolated(partial(_film_in_child, portrait_landmarks()), longest_first, lambda _: _DEADLINE_S, Children(workers))
    for index, ending in track(endings, "sample footage", len(filmed)):
        scene = longest_first[index]
        if not isinstance(ending, Done):
            raise RuntimeError(f"the scene {scene.name!r} cannot be filmed: {fault_of(ending).detail}")
        path = folder / scene.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ending.value)


_studio: Studio | None = None
"""The child's own studio; the parent has none."""


def _film_in_child(landmarks: Landmarks, scene: Scene) -> bytes:
    global _studio
    _studio = _studio or Studio(landmarks)
    return film(scene, _studio)


def _record(folder: Path, scene: Scene) -> SampleClip:
    path = folder / scene.path
    return SampleClip(
        clip_id=scene.clip_id,
        scene=scene.name,
        path=scene.path,
        sha256=sha256_file(path) if path.is_file() else None,
        persons=scene.persons,
        expected_status=scene.status,
        expected_reason=scene.reason,
        expected_speaking_status=scene.speaking_status,
    )


def _read_complete(folder: Path, scenes: tuple[Scene, ...]) -> SampleManifest | None:
    """The manifest of `folder` if it was made by this recipe from these scenes and every file is as it was written."""
    file = folder / MANIFEST_NAME
    if not file.is_file():
        return None
    try:
        manifest = SampleManifest.model_validate_json(file.read_bytes())
    except ValidationError:
        return None
    table = folder / TABLE_NAME
    if manifest.recipe != recipe() or not table.is_file() or sha256_file(table) != manifest.table_sha256:
        return None
    return manifest if manifest.clips == tuple(_record(folder, scene) for scene in scenes) else None
