"""Reference faces as pictures: cut once, and a clip that is gone costs only itself."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from lafid_assets.dataset import crops as module
from lafid_assets.dataset.crops import MOST_SIDE_PX, cut_references, folder_of
from lafid_assets.dataset.references import choose_references
from lafid_assets.ingest.media_probe import content_sha256
from lafid_assets.schemas import FACES, FOOTAGE, REFERENCE_CROPS
from lafid_assets.workers.pool import Crashed, TimedOut
from model.encoding.head_mask import MaskChoice, MaskInfo, choose_mask
from model.face_engine.rotations import rotation_from_angles
from model.model_store.install import install
from model.model_store.registry import Kind
from model.model_store.store import ModelStore
from resources.store.file_store import FileStore

Clips = tuple[pl.DataFrame, pl.DataFrame, dict[str, Path]]
OVAL = MaskChoice(MaskInfo(), None, None, "asked for")
BOX = {"box_x1": 24.0, "box_y1": 16.0, "box_x2": 40.0, "box_y2": 32.0}


@pytest.fixture
def clips(tmp_path: Path, write_video: Callable[..., Path], row_of: Callable[..., dict[str, Any]]) -> Clips:
    """(chosen references, clips, places) of clips `a` and `b`; frame n is grey 8 n, with a face that turns 20 degrees a frame."""
    faces, rows, places = [], [], {}
    for clip in "ab":
        path = write_video(
            tmp_path / clip,
            pictures=np.full((10, 48, 64, 3), 0, np.uint8)
            + 8 * np.arange(10, dtype=np.uint8)[:, None, None, None]
            + ord(clip) % 2,
        )
        known = {"clip_id": clip, "shard": "shard-00000"}
        rows.append(row_of(FOOTAGE, **known, content_sha256=content_sha256(path), duration_s=1.0))
        places[clip] = path
        for frame in (0, 4, 9):
            pose = {"yaw_deg": 20.0 * frame, "pitch_deg": 0.0, "roll_deg": 0.0, "sharpness": 5.0, "embedding": [1.0, 0.0]}
            pose["rotation"] = rotation_from_angles(20.0 * frame, 0.0, 0.0).ravel().tolist()
            faces.append(row_of(FACES, **known, frame_index=frame, face_index=0, **pose, **BOX))
    return choose_references(FACES.frame(faces)), FOOTAGE.frame(rows), places


def _picture(store: FileStore, path: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(store.read_bytes(path))))


def test_every_reference_has_a_face_and_a_head_on_white(clips: Clips, store: FileStore) -> None:
    crops = cut_references(*clips, store, OVAL)
    assert REFERENCE_CROPS.violations(crops) == []
    assert crops["frame_index"].to_list() == [0, 9, 4] * 2
    assert set(crops["status"]) == {"ok"}
    assert set(crops["mask"]) == {"oval"}
    for row in crops.iter_rows(named=True):
        face, head = _picture(store, row["face_path"]), _picture(store, row["head_path"])
        grey = 8 * row["frame_index"]
        assert face.shape == (24, 24, 3), "1.5 times the box"
        assert abs(int(face[12, 12, 0]) - grey) < 6, "of the frame that the row names"
        assert (head[0, 0] == 255).all(), "white outside the oval"
        assert abs(int(head[len(head) // 2, len(head) // 2, 0]) - grey) < 6


def test_what_is_there_is_not_cut_again(clips: Clips, store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cut_references(*clips, store, OVAL)
    lost = first.row(0, named=True)["head_path"]
    store.remove(lost)
    tasks: list[str] = []
    run = module.map_footage
    monkeypatch.setattr(
        module,
        "map_footage",
        lambda work, todo, *rest, **how: run(work, tasks.extend(t.clip_id for t in todo) or todo, *rest, **how),
    )
    assert cut_references(*clips, store, OVAL).equals(first)
    assert tasks == ["a"]
    assert store.exists(lost)
    assert cut_references(*clips, store, OVAL).equals(first)
    assert tasks == ["a"]


@pytest.mark.parametrize(
    ("damage", "reason", "detail"),
    [
        (lambda path: path.unlink(), "unreadable", "its file has disappeared: put it back"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "unreadable", "a has changed since raw_clips"),
    ],
)
def test_clip_that_is_gone_costs_only_its_own_pictures(
    clips: Clips, store: FileStore, tmp_path: Path, damage: Callable[[Path], None], reason: str, detail: str
) -> None:
    damage(tmp_path / "a")
    reached = {clip: path for clip, path in clips[2].items() if path.exists()}
    crops = cut_references(*clips[:2], reached, store, OVAL)
    assert REFERENCE_CROPS.violations(crops) == []
    lost, kept = crops.filter(pl.col("clip_id") == "a"), crops.filter(pl.col("clip_id") == "b")
    assert set(lost["reason"]) == {reason}
    assert lost["detail"][0].startswith(detail)
    assert lost["face_path"].null_count() == lost["head_path"].null_count() == 3
    assert kept["face_path"].null_count() == 0


def test_clip_whose_file_cannot_be_reached_keeps_the_pictures_that_it_has(clips: Clips, store: FileStore) -> None:
    first = cut_references(*clips, store, OVAL)
    assert cut_references(*clips[:2], {}, store, OVAL).equals(first)


def test_child_that_dies_costs_only_its_clip(clips: Clips, store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    endings = iter([(0, Crashed(-11)), (1, TimedOut(80.0))])
    monkeypatch.setattr(module, "map_footage", lambda *_, **__: endings)
    pictures = cut_references(*clips, store, OVAL).unique("clip_id", maintain_order=True)
    assert pictures.select("status", "reason").rows() == [("error", "crashed"), ("timeout", "deadline")]


def test_fewer_frames_than_before_is_a_reason(clips: Clips, store: FileStore) -> None:
    chosen, *others = clips
    crops = cut_references(chosen.with_columns(frame_index=pl.col("frame_index") + 5), *others, store, OVAL)
    assert set(crops["reason"]) == {"decode_failed"}
    assert crops["detail"][0] == "there is no frame 14"


def test_large_pictures_are_scaled_down() -> None:
    png = module._png(np.zeros((2000, 2000, 3), np.uint8))
    assert Image.open(io.BytesIO(png)).size == (MOST_SIDE_PX, MOST_SIDE_PX)


def test_pictures_of_a_clip_are_one_folder(clips: Clips, store: FileStore) -> None:
    crops = cut_references(*clips, store, OVAL)
    content = clips[1]["content_sha256"][0]
    assert len(store.list_files(folder_of(content))) == 6
    assert all(path.startswith(f"crops/{content[:2]}/{content}/") for path in crops.filter(pl.col("clip_id") == "a")["face_path"])


def test_another_mask_cuts_anew_and_says_which(
    clips: Clips, store: FileStore, tmp_path: Path, write_network: Callable[..., Path]
) -> None:
    first = cut_references(*clips, store, OVAL)
    models = ModelStore(tmp_path / "models")
    install(models, "modnet", [write_network(tmp_path / "mine.onnx", Kind.MATTING, 1.0)])
    mask = choose_mask("auto", models)
    crops = cut_references(*clips, store, mask)
    assert REFERENCE_CROPS.violations(crops) == []
    assert crops.select("mask", "mask_sha256", "mask_licence").unique().rows() == [("modnet", mask.info.sha256, "Apache-2.0")]
    assert not set(crops["head_path"]) & set(first["head_path"])
    assert set(crops["status"]) == {"ok"}
    for before, row in zip(first.iter_rows(named=True), crops.iter_rows(named=True), strict=True):
        face, head = _picture(store, row["face_path"]), _picture(store, row["head_path"])
        assert np.array_equal(face, _picture(store, before["face_path"]))
        assert abs(int(head[16, 8, 0]) - 8 * row["frame_index"]) < 6, "beside the oval, which this network keeps"
    assert cut_references(*clips, store, OVAL).equals(first), "both lie side by side"
