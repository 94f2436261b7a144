"""A dataset whose persons are coloured squares, and an engine that reads them: what a bench is made of, without a network.

A face is a square of 32 px whose green tells the person and whose blue tells the yaw; beyond 60 degrees the engine tells no pose,
as dlib does.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from lafid_assets.dataset.crops import FACE_SCALE
from lafid_assets.release import bench_building, bench_looks, lafid_bench
from lafid_assets.schemas import FACE_INFO, LAFID_DATASET, RAW_CLIPS
from lafid_assets.workers.pool import Done, Failed
from model.face_engine.crops import square_crop
from model.face_engine.interface import EngineInfo, Expression, Face
from model.face_engine.rotations import rotation_from_angles
from resources.store.file_store import FileStore

FPS = 10
HEIGHT, WIDTH, SIDE = 96, 128, 32
LEFT, TOP = 40, 32
SHARD = "shard-00000"
DEG_PER_BLUE = 0.75
PROFILE_DEG = 60.0
MOST_PERSONS = 8
Row = dict[str, Any]


@dataclass(frozen=True)
class PaintedClip:
    """A clip of one person: the yaw of each frame, None where no face is seen.

    Attributes:
        smiles_from: the frame from which the measured mouth is open.
        beside: another person whose face is larger, in all frames.
    """

    clip_id: str
    person: int
    split: str = "test"
    yaws: tuple[float | None, ...] = (0.0, 10.0, 20.0, 30.0)
    speaking: str = "silent"
    smiles_from: int = 99
    beside: int | None = None
    references: tuple[int, ...] | None = None

    @property
    def pictures(self) -> NDArray[np.uint8]:
        """(T, H, W, 3)."""
        return np.stack([_frame(self, yaw) for yaw in self.yaws])


class PaintedEngine:
    """Reads such faces. Its embeddings are 9 wide: a direction a person, and a little of the yaw."""

    info = EngineInfo("painted", "1", MOST_PERSONS + 1, "CC0-1.0", "f" * 64)

    def detect(self, image_rgb: NDArray[np.uint8], *, embed: bool = True) -> list[Face]:
        """All faces, largest first."""
        red, green, blue = (image_rgb[..., channel].astype(int) for channel in range(3))
        faces = []
        for person in range(MOST_PERSONS):
            rows, columns = np.nonzero((red > 180) & (abs(green - _green(person)) <= 8))
            if len(rows) < SIDE:
                continue
            box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
            yaw = float(np.round((np.median(blue[rows, columns]) - 128) * DEG_PER_BLUE))
            faces.append(_face(box, person, yaw))
        return sorted(faces, key=lambda face: -face.area_px)

    def detect_many(self, images_rgb: Sequence[NDArray[np.uint8]], *, embed: bool = True) -> list[list[Face]]:
        """The same of each."""
        return [self.detect(image) for image in images_rgb]


@dataclass(frozen=True)
class PaintedWorld:
    """Clips on disk and in tables.

    Attributes:
        raw_clips: rows of `raw_clips`, for whoever lays them into a lake.
    """

    footage: Path
    dataset: pl.DataFrame
    faces: pl.DataFrame
    raw_clips: pl.DataFrame

    def find(self, clips: Sequence[Any]) -> dict[str, Path]:
        """Where they lie, of those that are there."""
        return {row["clip_id"]: path for row in clips if (path := self.footage / row["clip_id"]).is_file()}


def look_at_painted_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that looks at faces for a bench uses the engine of painted ones, in the test's own process."""

    def here(
        work: Callable[[Any], Any], tasks: Sequence[Any], deadline_s: Callable[[Any], float], *_: Any, **__: Any
    ) -> Iterator[tuple[int, Any]]:
        for index, task in enumerate(tasks):
            assert deadline_s(task) > 0
            try:
                yield index, Done(work(task))
            except Exception as error:
                yield index, Failed(f"{type(error).__name__}: {error}")

    monkeypatch.setattr(bench_building, "map_footage", here)
    monkeypatch.setattr(bench_looks, "load_face_engine", lambda _: PaintedEngine())
    monkeypatch.setattr(lafid_bench, "face_engine_info", lambda _: PaintedEngine.info)
    monkeypatch.setattr(lafid_bench, "gpu_feeders", lambda _: [])
    bench_looks._engine.cache_clear()


def paint(
    clips: Sequence[PaintedClip], footage: Path, store: FileStore, row_of: Callable[..., Row], write_video: Callable[..., Path]
) -> PaintedWorld:
    """Videos, crops and rows of these clips."""
    dataset, faces, raw = [], [], []
    for clip in clips:
        path = write_video(footage / clip.clip_id, pictures=clip.pictures, fps=FPS)
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        known = {"clip_id": clip.clip_id, "shard": SHARD, "content_sha256": content, "duration_s": len(clip.yaws) / FPS}
        known |= {"clip_root": str(footage), "path": clip.clip_id, "source": "painted", "licence": "CC0-1.0"}
        track, references = [], []
        for index, yaw in enumerate(clip.yaws):
            place = {"time_s": index / FPS, "frame_index": index, "face_index": None if yaw is None else 0}
            track.append(place | _place(yaw))
            if yaw is not None:
                shares = {"eye_opening": 0.1, "brow_height": 0.2, "mouth_width": 0.4}
                shares["mouth_opening"] = 0.1 if index >= clip.smiles_from else 0.0
                measured = {"frame_index": index, "face_index": 0} | (shares if abs(yaw) <= 45 else {})
                faces.append(row_of(FACE_INFO, clip_id=clip.clip_id, shard=SHARD, **measured))
        chosen = clip.references
        if chosen is None:
            chosen = tuple(index for index, yaw in enumerate(clip.yaws) if yaw is not None and abs(yaw) <= PROFILE_DEG)
        for index in chosen:
            paths = _cut(clip, index, content, store)
            pose = {name: value for name, value in _place(clip.yaws[index]).items() if name not in ("time_s",)}
            references.append(
                {"frame_index": index, "face_index": 0, "pts": 100 * index, "sharpness": 50.0 - index} | paths | pose
            )
        told = {
            "split": clip.split,
            "identity_id": f"person-{clip.person}",
            "speaking_status": clip.speaking,
            "engine": "painted",
        }
        told |= {"refined_caption": f"Person {clip.person} turns.", "references": references, "face_track": track}
        told |= {"width": WIDTH, "height": HEIGHT, "dataset_version": "d" * 16, "model_licences": ["painted: CC0-1.0"]}
        dataset.append(row_of(LAFID_DATASET, **known, **told))
        raw.append(row_of(RAW_CLIPS, **known, width=WIDTH, height=HEIGHT))
    return PaintedWorld(footage, LAFID_DATASET.frame(dataset), FACE_INFO.frame(faces), RAW_CLIPS.frame(raw))


def _cut(clip: PaintedClip, index: int, content: str, store: FileStore) -> dict[str, str]:
    """As `crops` does: the face alone, and on white with what is around it."""
    frame, box = _frame(clip, clip.yaws[index]), (LEFT, TOP, LEFT + SIDE, TOP + SIDE)
    face = square_crop(frame, box, FACE_SCALE)
    assert face is not None
    head = np.full((80, 80, 3), 255, np.uint8)
    head[16:64, 16:64] = face
    paths = {}
    for name, picture in (("face", face), ("head", head)):
        paths[f"{name}_path"] = f"crops/{content[:2]}/{content}/{index}-{name}.png"
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        store.write_bytes(paths[f"{name}_path"], buffer.getvalue())
    return paths


def _place(yaw: float | None) -> Row:
    unknown = yaw is None or abs(yaw) > PROFILE_DEG
    angles = {"yaw_deg": None if unknown else yaw, "pitch_deg": None if unknown else 0.0, "roll_deg": None if unknown else 0.0}
    sides = (None,) * 4 if yaw is None else (LEFT, TOP, LEFT + SIDE, TOP + SIDE)
    return angles | dict(zip(("box_x1", "box_y1", "box_x2", "box_y2"), sides, strict=True))


def _frame(clip: PaintedClip, yaw: float | None) -> NDArray[np.uint8]:
    frame = np.full((HEIGHT, WIDTH, 3), (40, 60, 80), np.uint8)
    if yaw is not None:
        frame[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = (220, _green(clip.person), round(128 + yaw / DEG_PER_BLUE))
    if clip.beside is not None:
        frame[24:72, 76:124] = (220, _green(clip.beside), 128)
    return frame


def _green(person: int) -> int:
    return 20 + 20 * person


def _face(box: tuple[float, float, float, float], person: int, yaw: float) -> Face:
    direction = np.zeros(MOST_PERSONS + 1, np.float32)
    direction[person], direction[-1] = 1.0, 0.4 * yaw / 90
    rotation = None if abs(yaw) > PROFILE_DEG + 2 else rotation_from_angles(yaw, 0.0, 0.0).astype(np.float32)
    shown = rotation is not None and abs(yaw) <= 45
    return Face(
        box_xyxy_px=box,
        score=1.0,
        landmarks_px=np.zeros((0, 2), np.float32),
        rotation=rotation,
        embedding=direction / np.linalg.norm(direction),
        mouth_opening=0.0 if shown else None,
        expression=Expression(0.1, 0.2, 0.4) if shown else None,
    )
