"""Two short clips of faces that never were, as the dataset lists them, and the tiny base."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lafid_assets.schemas import FACE_EMBEDDINGS, FACE_INFO, LAFID_DATASET
from lafid_assets.training import encoding as encoding_module
from lafid_assets.workers.pool import Done, Failed

LANDMARKS = [28.0, 18.0, 36.0, 18.0, 32.0, 22.0, 29.0, 28.0, 35.0, 28.0]
REFERENCE = {"frame_index": 2, "face_index": 0, "pts": 0, "yaw_deg": 0.0, "pitch_deg": 0.0, "roll_deg": 0.0, "sharpness": 50.0}
REFERENCE |= {"landmarks_px": LANDMARKS, "mask": "oval"}
FIRST = {"frame_index": 1, "face_index": 1, "yaw_deg": -20.0, "pitch_deg": 0.0, "roll_deg": 0.0, "landmarks_px": LANDMARKS}
"""A second face in the frame at 0.1 s, which only some tests make a window begin with."""
TURNED = REFERENCE | {"frame_index": 6, "yaw_deg": 30.0, "pitch_deg": -5.0, "roll_deg": 2.0}
ANGLES = ("yaw_deg", "pitch_deg", "roll_deg")
BOX = {"box_x1": 20.0, "box_y1": 10.0, "box_x2": 44.0, "box_y2": 34.0}


@pytest.fixture(autouse=True)
def _without_children(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips are decoded in the test's own process, unless it asks for `in_children`: a child takes a second to start."""

    def here(work: Callable[[Any], Any], tasks: Sequence[Any], *_: Any, **__: Any) -> Iterator[tuple[int, Any]]:
        for index, task in enumerate(tasks):
            try:
                yield index, Done(work(task))
            except Exception as error:
                yield index, Failed(f"{type(error).__name__}: {error}")

    if "in_children" not in request.fixturenames:
        monkeypatch.setattr(encoding_module, "map_footage", here)


@pytest.fixture
def in_children() -> None:
    """Asked for by tests whose clips are decoded in children."""


@pytest.fixture
def dataset(tmp_path: Path, write_video: Callable[..., Path], row_of: Callable[..., dict[str, Any]]) -> pl.DataFrame:
    """Clips `a` (train) and `b` (test) of 1.2 s, and `c` of exactly the second that a training window spans."""
    rows = []
    for clip, split, frames in (("a", "train", 12), ("b", "test", 12), ("c", "train", 10)):
        noise = np.random.default_rng(ord(clip)).integers(0, 256, (frames, 64, 64, 3), np.uint8)
        content = hashlib.sha256(write_video(tmp_path / "footage" / clip, pictures=noise).read_bytes()).hexdigest()
        known = {"clip_id": clip, "content_sha256": content, "split": split, "identity_id": f"person-{clip}"}
        place = {"clip_root": str(tmp_path / "footage"), "path": clip, "duration_s": frames / 10, "width": 64, "height": 64}
        embedding = (np.eye(128, dtype=np.float32)[ord(clip)]).tolist()
        unposed = dict.fromkeys(("yaw_deg", "pitch_deg", "roll_deg"))
        seen = [{"time_s": 0.0, "frame_index": 0, "face_index": 0} | BOX | unposed]
        seen += [{"time_s": 0.5, "frame_index": 5, "face_index": None} | dict.fromkeys(BOX) | unposed]
        faces = {"references": [REFERENCE | BOX, TURNED | BOX], "identity_embedding": embedding, "face_track": seen}
        faces |= {"refined_caption": f"Person {clip}. No voice is heard.", "speaking_sentence": "No voice is heard."}
        rows.append(row_of(LAFID_DATASET, **known, **place, **faces))
    return LAFID_DATASET.frame(rows)


@pytest.fixture
def face_tables(dataset: pl.DataFrame, row_of: Callable[..., dict[str, Any]]) -> dict[str, pl.DataFrame]:
    """What was measured of every clip's faces; each has an embedding of its own, those of clip `a` near direction 97."""
    rows = []
    for clip in dataset["clip_id"]:
        for face in (REFERENCE, TURNED, FIRST):
            measured = {name: face[name] for name in ("frame_index", "face_index", *ANGLES, "landmarks_px")} | BOX
            rows.append(row_of(FACE_INFO, clip_id=clip, **measured))
    keys = [{name: row[name] for name in ("clip_id", "shard", "frame_index", "face_index")} for row in rows]
    embedded = [key | {"embedding": _embedding(ord(key["clip_id"]), key["frame_index"])} for key in keys]
    return {FACE_INFO.name: FACE_INFO.frame(rows), FACE_EMBEDDINGS.name: FACE_EMBEDDINGS.frame(embedded)}


@pytest.fixture
def faces(face_tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """The same as the asset reads them."""
    info, embeddings = face_tables.values()
    return info.join(embeddings, on=["clip_id", "shard", "frame_index", "face_index"])


def _embedding(direction: int, frame_index: int) -> list[float]:
    unit = np.eye(128, dtype=np.float32)[direction] + 0.01 * np.eye(128, dtype=np.float32)[frame_index]
    return (unit / np.linalg.norm(unit)).tolist()
