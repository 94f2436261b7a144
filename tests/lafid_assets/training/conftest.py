"""Two short clips of faces that never were, as the dataset lists them, and the tiny base."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from lafid_assets.schemas import LAFID_DATASET
from resources.shard_store import ShardStore

REFERENCE = {"frame_index": 2, "pts": 0, "yaw_deg": 0.0, "pitch_deg": 0.0, "roll_deg": 0.0, "sharpness": 50.0}
TURNED = REFERENCE | {"frame_index": 6, "yaw_deg": 30.0, "pitch_deg": -5.0, "roll_deg": 2.0}
BOX = {"box_x1": 20.0, "box_y1": 10.0, "box_x2": 44.0, "box_y2": 34.0}


@pytest.fixture
def dataset(
    tmp_path: Path, store: ShardStore, write_video: Callable[..., Path], row_of: Callable[..., dict[str, Any]]
) -> pl.DataFrame:
    """Clips `a` (train) and `b` (test) of 1.2 s, and `c` of exactly the second that a training window spans."""
    rows = []
    for clip, split, frames in (("a", "train", 12), ("b", "test", 12), ("c", "train", 10)):
        noise = np.random.default_rng(ord(clip)).integers(0, 256, (frames, 64, 64, 3), np.uint8)
        write_video(tmp_path / "footage" / clip, pictures=noise)
        known = {"clip_id": clip, "content_sha256": f"sha-{clip}", "split": split, "identity_id": f"person-{clip}"}
        place = {"clip_root": str(tmp_path / "footage"), "path": clip, "duration_s": frames / 10}
        embedding = (np.eye(128, dtype=np.float32)[ord(clip)]).tolist()
        references = []
        for index, reference in enumerate((REFERENCE, TURNED)):
            buffer = io.BytesIO()
            Image.fromarray(noise[reference["frame_index"], :58, :58]).save(buffer, format="PNG")
            store.write_bytes(f"crops/{clip}-{index}-head.png", buffer.getvalue())
            references.append(reference | BOX | {"head_path": f"crops/{clip}-{index}-head.png", "mask": "oval"})
        faces = {"references": references, "identity_embedding": embedding}
        rows.append(row_of(LAFID_DATASET, **known, **place, **faces))
    return LAFID_DATASET.frame(rows)
