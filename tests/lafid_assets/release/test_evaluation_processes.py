"""A real checkpoint, measured by processes of its own: as many as there are, the same result."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from lafid_assets.release.held_out_measures import FOLDER, Measured
from PIL import Image

from lafid_assets.release.evaluation import evaluate
from lafid_assets.schemas import LAFID_DATASET
from lafid_assets.training.held_out import HeldOut
from model.bases.base import load_base
from model.bases.build import build_tiny_base
from model.clip_size import Bucket
from model.clips.clip_parts import write_clips
from model.clips.clip_set import ClipSet
from model.encoding.encoders import ClipEncoders
from model.face_branch.trainable import assemble
from model.files import sha256_folder
from model.presets import preset
from model.release.checkpoint import EmbeddingSource, write_checkpoint
from model.release.drawing_settings import DrawingSettings
from tests.model.conftest import encode_clips
from tests.model.manifests import a_manifest


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measured:
    """An untrained model on embeddings as wide as dlib's, and cached clips of the test split."""
    build_tiny_base(tmp_path / "base")
    tiny, base = preset("tiny"), load_base(tmp_path / "base", "cpu")
    monkeypatch.setattr("tests.model.conftest.EMBEDDING_WIDTH", 128)
    clip_list = write_clips(tmp_path, encode_clips(base), split=lambda _: "test")
    model = assemble(base, ClipSet(clip_list, "test").batch([0]).face, tiny.fusion, tiny.train)
    source = EmbeddingSource(name="dlib", version="20", width=128)
    manifest = a_manifest(tiny, base.info, face_engine=source, encoders_fingerprint=ClipEncoders(base).fingerprint)
    write_checkpoint(tmp_path / "run", model, manifest)
    return Measured("abc", "run", "base", tmp_path, clip_list, DrawingSettings(device="cpu"))


@pytest.mark.long
def test_one_process_and_two_give_equal_measures_and_equal_videos(
    measured: Measured, write_video: Callable[..., Path], row_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wide first frame each, of which the clip's size shows a square around the face."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    astronaut = pytest.importorskip("skimage.data", reason="needs a photograph of a face").astronaut()
    chosen = []
    for clip, size in (("a", Bucket(3, 64, 64)), ("b", Bucket(5, 64, 64)), ("c", Bucket(3, 48, 64))):
        picture = np.asarray(Image.fromarray(astronaut[:288]))
        write_video(measured.store / clip, pictures=np.stack([picture] * 2))
        known = {"clip_root": str(measured.store), "path": clip, "identity_embedding": np.eye(128)[0].tolist()}
        row = row_of(LAFID_DATASET, clip_id=clip, **known)
        chosen.append(HeldOut(row, size, 0.0, (224.0, 100.0), 10.0, "yaw_0_20", "the test says so"))
    kept = measured.store / FOLDER
    found: list[tuple[pl.DataFrame, ...]] = []
    digests: list[str] = []
    for processes in (1, 2):
        frames = evaluate(measured, {"test": chosen}, {"test": 5}, 600, processes)
        found.append(tuple(frames.values()))
        digests.append(sha256_folder(kept))
        shutil.rmtree(kept)
    assert all(one.equals(two) for one, two in zip(*found, strict=True))
    assert digests[0] == digests[1]
    measures, clips = found[0]
    assert clips["status"].to_list() == ["ok"] * 3
    assert clips["first_frame_psnr_db"].min() > 30
    assert measures.filter(pl.col("metric") == "face_found_share")["clips"].to_list() == [3]
    assert measures.filter(pl.col("metric") == "flow_loss")["value"].item() > 0
