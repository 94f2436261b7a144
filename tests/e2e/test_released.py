"""The road of a published base, in the words that a user types: fetched, adopted, encoded with, trained on, judged, registered,
drawn with, looked into.

The snapshots have the released form and tiny widths (`tests.model.released`); the clips are the demo's. One layout is walked in
every test run, all of them by `make soak`.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import model.presets
from lafid_assets.cli.main import run
from lafid_assets.cli.materialize import open_materializer
from lafid_assets.jobs import RELEASE
from lafid_assets.lake import open_lake
from lafid_assets.schemas import (
    CLIP_CONTENTS,
    CLIP_FILES,
    CLIP_ROOTS,
    CLIPS,
    FACE_EMBEDDINGS,
    FACE_INFO,
    FUSION_DIT,
    LAFID_DATASET,
    MODEL_EVALUATION,
    PIECES,
    REGISTERED_MODEL,
)
from model.bases.specs import FIRST_FRAME_LAYOUTS
from model.clip_size import ClipSize
from model.encoding.video_io import read_frames
from model.presets import Preset, preset
from resources.settings import Settings
from tests.demo_home import Demo
from tests.model.released import COMMIT, RELEASED, write_snapshot, write_vision_encoder

IN_EVERY_RUN = "wan2.1-i2v-14b"
"""CLIP's branch and a first frame as channels."""
TRAIN = {"steps": 2, "batch_size": 2, "warmup_steps": 1, "lora_rank": 4, "lora_alpha": 4, "compile_blocks": False}
TRAIN |= {"checkpoint_every": 1, "validate_every": 2, "log_every": 1, "fixed_triples": 2}
PER_SHARD = (CLIPS, CLIP_FILES, CLIP_CONTENTS, PIECES, FACE_INFO, FACE_EMBEDDINGS)
"""What training and release ask for beside the dataset."""
TAKEN = {"train": 4, "validation": 1, "test": 1}
OPEN_GATE = {"max_test_loss_rise": 9.0, "min_first_frame_psnr_db": 0.0}

pytestmark = pytest.mark.e2e


def narrow(name: str) -> Preset:
    """The real preset, of the base and of clips that a test can afford."""
    real = preset(name)
    changes: dict[str, Any] = {
        "base": RELEASED[name],
        "encoders": real.encoders.model_copy(update={"detail_side_px": 64}),
        "clip": ClipSize(frames=5, height=64, width=64, fps=8, views=2, view_side=32),
        "fusion": preset("tiny").fusion,
        "train": real.train.model_copy(update=TRAIN),
    }
    return real.model_copy(update=changes)


@pytest.fixture
def lafid(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command in this process, where the preset is a narrow one; what it said."""

    def go(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["lafid", *map(str, arguments)])
        code = run()
        out, err = capsys.readouterr()
        assert code == 0, out + err
        return out

    return go


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == IN_EVERY_RUN else pytest.mark.long) for name in RELEASED]
)
def test_a_published_base_goes_the_whole_road(
    name: str, demo: Demo, tmp_path: Path, lafid: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = narrow(name)
    monkeypatch.setitem(model.presets.PRESETS, name, small)
    monkeypatch.setenv("LAFID_MODELS", str(tmp_path / "models"))
    settings = Settings(home=Path(os.environ["LAFID_HOME"]), store_uri=str(Path(os.environ["LAFID_HOME"]) / "store"))
    base_dir = settings.home / "store" / "bases" / name
    write_snapshot(base_dir / "components", small.base)

    assert f"@{COMMIT}, as the download recorded it" in lafid("adopt", name)
    lafid("models", "add", "clip_vit_h14", write_vision_encoder(tmp_path / "clip"))

    copy_dataset(demo, settings)
    lafid("precompute", "--preset", name)
    materializer = open_materializer(settings)
    training = {"config": {"preset": name, "validation_clips": 1}}
    others = {"model_evaluation": {"config": {"steps": 2}}, "registered_model": {"config": OPEN_GATE}}
    materializer.run(RELEASE, f"training on {name}", ops={"fusion_dit": training} | others)
    lake = materializer.lake
    trained, registered = (lake.read(table.name).row(0, named=True) for table in (FUSION_DIT, REGISTERED_MODEL))
    assert (trained["preset"], trained["steps"]) == (name, 2)
    # Two steps make nobody champion: the model is like nobody, on few persons.
    assert (registered["alias"], registered["verdict"]) == ("candidate", "undecided")
    forced = ("promote", "models:/lafid@candidate", "--force", "--why", "a test draws with it")
    assert "lafid: champion is version 1, before it was nobody" in lafid(*forced)
    measures = lake.read(MODEL_EVALUATION.name)
    assert measures.filter(metric="flow_loss")["value"].null_count() == 0
    assert measures.filter(metric="likeness", split="test")["value"].len() == 1
    manifest = json.loads((settings.home / "store" / trained["checkpoint_path"] / "lafid.json").read_text())
    assert (manifest["base"]["repository"], manifest["base"]["revision"]) == (small.base.repository, COMMIT)
    kinds = ("adapter", "lora" if small.train.trainable == "adapter_and_lora" else "weights")
    parts = {f"{part}{expert}" for part in kinds for expert in ("", "_2")[: small.base.experts]}
    assert manifest["parts"].keys() == parts

    face = demo.home / "demo" / "face.png"
    shown = "--image" if small.base.layout in FIRST_FRAME_LAYOUTS else "--photo"
    asked = (shown, face, "--prompt", "The video features a woman who turns.", "--steps", 2)
    video = tmp_path / "out.mp4"
    assert f"{video}: 5 frames of 64x64" in lafid("generate", *asked, "--out", video)
    assert np.std(read_frames(video, [0.4])) > 0
    lafid("inspect", *asked, "--out", tmp_path / "inspection")
    assert list((tmp_path / "inspection").glob("*.png"))


def copy_dataset(demo: Demo, settings: Settings) -> None:
    """Some of what the demo curated, into a fresh installation: training and release ask for no more of it."""
    with open_lake(Settings(home=demo.home, store_uri=str(demo.home / "store")), read_only=True).snapshot() as reader:
        dataset, roots, *by_shard = (reader.read(table.name) for table in (LAFID_DATASET, CLIP_ROOTS, *PER_SHARD))
    dataset = pl.concat(dataset.filter(split=split).sort("clip_id").head(clips) for split, clips in TAKEN.items())
    shutil.copytree(demo.home / "store" / "crops", settings.home / "store" / "crops")
    lake = open_lake(settings)
    lake.put({LAFID_DATASET.name: dataset, CLIP_ROOTS.name: roots}, fingerprint="f")
    for shard in dataset["shard"].unique(maintain_order=True):
        held = {table.name: rows.filter(shard=shard) for table, rows in zip(PER_SHARD, by_shard, strict=True)}
        lake.put(held, shard, "f")
    lake.close()
