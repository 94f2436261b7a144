"""The real trainer in its own process: SIGTERM saves, a run of Dagster goes on, and the weights are as if nothing had been."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from model.clip_size import ClipSize
from model.files import sha256_folder
from model.presets import preset
from resources.trainer.client import TrainerClient
from resources.trainer.job import TrainingJob
from tests.model.cached_clips import noise_clips

pytestmark = pytest.mark.e2e
STEPS = 20


@pytest.fixture
def job(tmp_path: Path) -> TrainingJob:
    """Three clips of noise, 3 frames of 16 x 16 px; only SIGTERM saves a state."""
    tiny = preset("tiny")
    quick = {"steps": STEPS, "checkpoint_every": 1000, "log_every": 1, "warmup_steps": 1, "fixed_triples": 4}
    size = ClipSize(frames=3, height=16, width=16, view_side=16)
    return TrainingJob(
        preset=tiny.model_copy(update={"clip": size, "train": tiny.train.model_copy(update=quick)}),
        clip_list=noise_clips(tmp_path, size, 3),
        base_dir=tmp_path / "tiny",
        out_dir=tmp_path / "runs",
        dataset_version="v1",
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
        tracking_artifacts=tmp_path / "artifacts",
        tags={},
    )


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
    assert trainer.wait(900) == os.EX_TEMPFAIL, "".join(lines)
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
    assert undisturbed.wait(900) == 0, undisturbed.stdout.read()
    at = Path(event.metadata["at"].value)
    assert sha256_folder(at) == sha256_folder(alone.out_dir / at.relative_to(job.out_dir))
