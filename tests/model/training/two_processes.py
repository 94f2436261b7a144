"""The same trainings in one process and in two."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from model.clip_size import Bucket
from model.face_branch.trainable import FusedModel
from model.presets import Preset
from model.release.checkpoint import Manifest
from model.training.held_out_videos import Beginning, draw_held_out, live_pipeline
from model.training.train import TrainReport, train
from model.training.validation import DrawingStopped
from tests.forked import Fresh
from tests.model.conftest import StubEngine
from tests.model.training.two_ranks import free_ports, run_two

_SCRIPT = """
import json, sys
from pathlib import Path
import torch
from tests.model.training.two_processes import train_all
torch.set_num_threads(1)
print(json.dumps(train_all(Path(sys.argv[1]))))
"""
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
BEGINNING = Beginning.of(PICTURE, Bucket(3, 16, 16), (20, 20))


class Drawing:
    """Draws with every judged model; is stopped the first time."""

    draws = True

    def __init__(self) -> None:
        self.frames: list[Any] = []

    def draw(self, model: FusedModel, manifest: Manifest, run_dir: Path) -> None:
        with live_pipeline(model, manifest, StubEngine()) as pipeline:
            self.frames.append(draw_held_out(pipeline, BEGINNING, "a smile", steps=2).tolist())
        if len(self.frames) == 1:
            raise DrawingStopped

    def tell(self, manifest: Manifest, run_dir: Path) -> None: ...


def train_all(task: Path) -> list[dict[str, Any]]:
    """What each training of a task reported, drew and left."""
    told = json.loads(task.read_text())
    ended = []
    for one in told["trainings"]:
        os.environ["MASTER_PORT"] = str(one["port"])
        heard: list[TrainReport] = []
        onlooker = Drawing() if one["draws"] else None
        result = train(
            Preset(**one["preset"]),
            Path(one["clips"]),
            Path(one["base"]),
            task.parent / f"of {os.environ.get('WORLD_SIZE', '1')}" / one["name"],
            heard.append,
            dataset_version="v1",
            device="cpu",
            onlooker=onlooker if os.environ.get("RANK", "0") == "0" else None,
        )
        figures = [(report.loss, report.grad_norm, sorted(report.metrics)) for report in heard]
        frames = onlooker.frames if onlooker else []
        ended.append({"name": one["name"], "heard": figures, "drawn": frames, "checkpoint": str(result.checkpoint_dir)})
    return ended


def write_task(folder: Path, trainings: dict[str, tuple[Preset, Path, Path, bool]]) -> Path:
    """By name: preset, clips, base, and whether judged models draw."""
    ports = free_ports(len(trainings))
    described = [
        {"name": name, "preset": preset.model_dump(), "clips": str(clips), "base": str(base), "draws": draws, "port": port}
        for (name, (preset, clips, base, draws)), port in zip(trainings.items(), ports, strict=True)
    ]
    task = folder / "task.json"
    task.write_text(json.dumps({"trainings": described}))
    return task


def run_in_two(fresh_processes: Fresh, task: Path) -> list[list[dict[str, Any]]]:
    """`train_all` in two processes, over gloo."""
    printed = []
    for ended in run_two(fresh_processes, _SCRIPT, task):
        assert ended.returncode == 0, ended.stderr[-3000:]
        printed.append(json.loads(ended.stdout.splitlines()[-1]))
    return printed
