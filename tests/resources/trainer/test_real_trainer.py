"""The real trainer in its own process: SIGTERM saves, a run of Dagster goes on, and the weights are as if nothing had been."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from model.bases.base import load_base
from model.bases.build import build_tiny_base
from model.clip_size import Bucket, ClipSize
from model.clips.clip_list import ClipMeta
from model.clips.clip_parts import encode_clip, write_clips
from model.encoding.encoders import ClipEncoders
from model.encoding.views import encode_views
from model.files import sha256_folder
from model.presets import preset
from resources.trainer.client import TrainerClient
from resources.trainer.job import TrainingJob

pytestmark = pytest.mark.e2e
STEPS = 20


@pytest.fixture
def job(tmp_path: Path) -> TrainingJob:
    """Three clips of noise, 3 frames of 16 x 16 px; only SIGTERM saves a state."""
    tiny = preset("tiny")
    quick = {"steps": STEPS, "checkpoint_every": 1000, "log_every": 1, "warmup_steps": 1, "fixed_triples": 4}
    return TrainingJob(
        preset=tiny.model_copy(
            update={"clip": ClipSize(frames=3, height=16, width=16), "train": tiny.train.model_copy(update=quick)}
        ),
        clip_list=_write_clips(tmp_path),
        base_dir=tmp_path / "tiny",
        out_dir=tmp_path / "runs",
        dataset_version="v1",
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
        tracking_artifacts=tmp_path / "artifacts",
        tags={},
    )


def _write_clips(folder: Path) -> Path:
    build_tiny_base(folder / "tiny")
    base = load_base(folder / "tiny", "cpu")
    encoders = ClipEncoders(base)
    clips = []
    for number in range(3):
        rng = np.random.default_rng(number)
        frames = rng.integers(0, 256, (3, 16, 16, 3), np.uint8)
        embeddings = rng.standard_normal((3, 16)).astype(np.float32)
        meta = ClipMeta(
            clip_id=f"clip-{number}",
            caption="noise",
            bucket=Bucket(3, 16, 16),
            fps=8.0,
            identity_id=f"person-{number}",
            face_engine="stub",
            face_engine_version="1",
            base_sha256=base.info.sha256,
            encoders_fingerprint=encoders.fingerprint,
        )
        angles_deg = np.array([[0, 0, 0], [30, 0, 0], [0, 0, 0]], np.float32)
        views = encode_views(encoders, list(frames), embeddings, angles_deg, 16, (16, 16))
        clips.append(encode_clip(encoders, frames, views, meta))
    return write_clips(folder / "latents", clips)


@pytest.mark.long
def test_interrupted_training_goes_on_and_ends_with_the_same_bits(
    processes: Any, job: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    trainer = processes.start(sys.executable, "-m", "resources.trainer.child", str(job.write()))
    lines = []
    for line in trainer.stdout:
        lines.append(line)
        if line.startswith(f"step 3 of {STEPS}:"):
            trainer.send_signal(signal.SIGTERM)
    assert trainer.wait(60) == os.EX_TEMPFAIL, "".join(lines)
    saved = next(int(line.split()[5]) for line in lines if line.startswith("SIGTERM: the state after step "))
    assert 3 <= saved < STEPS

    @dg.asset
    def trained(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        finished = TrainerClient().train(context, job)
        return dg.MaterializeResult(
            metadata={"from": finished.resumed_from, "at": str(finished.checkpoints["last"].folder), **finished.metrics}
        )

    result = dg.materialize([trained], instance=dg.DagsterInstance.ephemeral())
    [event] = result.asset_materializations_for_node("trained")
    assert event.metadata["from"].value == saved
    assert event.metadata["tokens_per_second"].value > 0

    # In a process of its own, too: libraries that other tests load into this one may change how it rounds.
    alone = job.model_copy(update={"out_dir": tmp_path / "alone", "tracking_uri": f"sqlite:///{tmp_path}/alone.db"})
    undisturbed = processes.start(sys.executable, "-m", "resources.trainer.child", str(alone.write()))
    assert undisturbed.wait(200) == 0, undisturbed.stdout.read()
    at = Path(event.metadata["at"].value)
    assert sha256_folder(at) == sha256_folder(alone.out_dir / at.relative_to(job.out_dir))
