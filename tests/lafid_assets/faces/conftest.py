"""An engine that sees drawn faces: quick, deterministic, and counting its calls. A shard whose analysis is played."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from lafid_assets.faces import shard_analysis
from lafid_assets.schemas import CLIPS
from model.face_engine.interface import Box, EngineInfo, Face, Image
from model.face_engine.landmark_pose import load_landmark_pose
from model.face_engine.rotations import rotation_from_angles
from resources.store.ledger import Ledger
from tests.lafid_assets.faces.played import SHARD, Folder, ledger_in, play, recipe, without_children

WIDTH, HEIGHT = 160, 96
INKS = {"red": (220, 30, 30), "blue": (30, 30, 220)}
Draw = Callable[..., NDArray[np.uint8]]


class DrawnFaceEngine:
    """Sees the rectangles of `draw_face`. A head is turned by 60 degrees at the left edge and by -60 at the right one."""

    info = EngineInfo(name="drawn/1", version="1", embedding_dim=2, licence="none", fingerprint="drawn")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def detect(self, image_rgb: Image, *, embed: bool = True) -> list[Face]:
        self.asked.append("detect")
        return [self._measured(face, place, embed) for place, face in self._found(image_rgb)]

    def detect_many(self, images_rgb: Sequence[Image], *, embed: bool = True) -> list[list[Face]]:
        self.asked.append(f"detect_many {len(images_rgb)}")
        return [[self._measured(face, ink, embed) for ink, face in self._found(image)] for image in images_rgb]

    def glance(self, image_rgb: Image, *, side_px: int) -> list[Face]:
        assert max(image_rgb.shape[:2]) <= side_px
        self.asked.append("glance")
        return [face for _, face in self._found(image_rgb)]

    def landmarks(self, image_rgb: Image, box: Box | None = None) -> Face | None:
        raise NotImplementedError

    def _found(self, image: Image) -> list[tuple[str, Face]]:
        faces = []
        for ink, colour in INKS.items():
            inside = np.abs(image.astype(int) - colour).max(axis=2) < 60
            if inside.sum() < 12:
                continue
            rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
            box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
            yaw = 60 - 120 * (box[0] + box[2]) / 2 / image.shape[1]
            head = (load_landmark_pose().mean_shape @ rotation_from_angles(yaw, 0, 0))[:, :2] * (1, -1) * (box[3] - box[1]) / 2
            points = np.array(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)) + head
            faces.append((ink, Face(box, 0.9, points.astype(np.float32), None, None, None)))
        return sorted(faces, key=lambda item: -item[1].area_px)

    def _measured(self, face: Face, ink: str, embed: bool) -> Face:
        middle = (face.box_xyxy_px[0] + face.box_xyxy_px[2]) / 2
        rotation = rotation_from_angles(60 - 120 * middle / WIDTH, 0, 0).astype(np.float32)
        embedding = np.array([ink == "red", ink == "blue"], np.float32) if embed else None
        return replace(face, rotation=rotation, embedding=embedding)


@pytest.fixture
def drawn_engine() -> DrawnFaceEngine:
    return DrawnFaceEngine()


@pytest.fixture(scope="session")
def draw_face() -> Draw:
    """(96, 160, 3): grey with faces, each (ink, left, top, height), and a wall that changes with `moment`."""

    def draw(*faces: tuple[str, int, int, int], moment: int = 0) -> NDArray[np.uint8]:
        picture = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
        picture[80:, :] = 40 + 20 * (moment % 8)
        for ink, left, top, height in faces:
            picture[top : top + height, left : left + 3 * height // 4] = INKS[ink]
        return picture

    return draw


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips behave as they are named, in children as always."""
    monkeypatch.setattr(shard_analysis, "analyse_clip", play)


@pytest.fixture
def bookkeeping(played: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without children."""
    monkeypatch.setattr(shard_analysis, "map_footage", without_children)


@pytest.fixture
def clips(tmp_path: Path, row_of: Callable[..., dict[str, Any]]) -> Callable[..., pl.DataFrame]:
    """Rows of `clips` for clips that behave as they are named, and their files; the content hash is the name unless told
    otherwise."""

    def rows(*names: str, skipped: Sequence[str] = (), contents: dict[str, str] | None = None) -> pl.DataFrame:
        passed = [(name, {"status": "ok", "content_sha256": (contents or {}).get(name, name)}) for name in names]
        missing = [(name, {"status": "skipped", "reason": "file_missing"}) for name in skipped]
        for name in names:
            (tmp_path / name).touch()
        return CLIPS.frame(
            row_of(CLIPS, clip_id=name, shard=SHARD, duration_s=0.5, **outcome) for name, outcome in passed + missing
        )

    return rows


@pytest.fixture
def ledger(tmp_path: Path) -> Callable[..., Ledger]:
    return lambda of=None, store="store": ledger_in(tmp_path / store, of or recipe())


@pytest.fixture
def reach(tmp_path: Path) -> Folder:
    return Folder(tmp_path)
