"""The steps that the training benchmarks time are steps of one and the same training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import train_cpu, train_gpu, train_results
from benchmarks.train_rungs import Rung, open_rung
from model.clip_size import ClipSize

SMALL = train_cpu.PRESET.model_copy(update={"clip": ClipSize(frames=5, height=32, width=32)})


def losses(rung: Rung, folder: Path, steps: int = 2) -> list[float]:
    with open_rung(SMALL, rung, train_cpu.ENCODERS, folder, torch.device("cpu")) as step:
        return [step() for _ in range(steps)]


def test_no_lever_changes_the_loss(tmp_path: Path) -> None:
    """Of the first step also the face branch does not, which begins at zero; of the second it does, having learned."""
    online, cached, face, checkpointed = (losses(rung, tmp_path) for rung in train_cpu.RUNGS)
    assert online == cached == losses(replace(train_cpu.RUNGS[1], ahead=True), tmp_path)
    assert face == checkpointed
    assert face[0] == pytest.approx(cached[0], rel=1e-6)
    assert face[1] != cached[1]
    assert len(set(cached)) == 2
    full = losses(replace(train_cpu.RUNGS[2], face="full"), tmp_path)
    assert full[0] == pytest.approx(cached[0], rel=1e-6)
    assert full[1] not in (cached[1], face[1])


def test_every_rung_is_named_by_one_character_of_its_own() -> None:
    assert len({rung.name[0] for rung in train_gpu.RUNGS}) == len(train_gpu.RUNGS)


def test_a_row_has_every_figure_and_says_what_it_cannot() -> None:
    row = train_gpu.measure(SMALL, Rung("small"), train_cpu.ENCODERS, torch.device("cpu"), warmup=0, steps=2)
    assert row["step_p95_s"] > 0
    tokens = 2 * 2 * 2  # latent frames, and 4 x 4 latents in patches of 2
    assert row["tokens_per_s"] == pytest.approx(tokens / row["step_s"])
    assert [row[name] for name in ("mfu", "hfu", "limit_s", "peak_gib")] == [None] * 4
    assert row["estimate_gib"] > 0


def test_the_page_has_every_figure_and_names_what_there_was_no_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    device, clock = torch.device("cpu"), train_results.Clock(600)
    monkeypatch.setattr(train_results, "_FIRST", (train_gpu.FACE, train_gpu.OFFLOADED))
    monkeypatch.setattr(train_results, "RUNGS", ())
    rows, _ = train_results.rungs(SMALL, train_cpu.ENCODERS, device, clock, steps=1)
    assert rows[train_gpu.OFFLOADED.name]["loss"] == rows[train_gpu.FACE.name]["loss"]
    nothing, every = train_results.rungs(SMALL, train_cpu.ENCODERS, device, train_results.Clock(0), steps=1)
    assert (nothing, every) == ({}, list(rows))
    sizes = SMALL.model_copy(update={"clip": ClipSize(frames=5, height=32, width=32, shorter_frames=(1,))})
    warmed = train_results.warm_up(sizes, train_cpu.ENCODERS, device, clock)
    assert [row[0] for row in warmed] == ["1 x 32 x 32", "5 x 32 x 32"]
    assert train_results.warm_up(sizes, train_cpu.ENCODERS, device, train_results.Clock(0)) == []
    a_second = train_results.clips_per_second(SMALL, train_cpu.ENCODERS, device)
    text = train_results.page(
        SMALL, device, rows, every, warmed, a_second, train_results.state_seconds(1000, SMALL.train, device)
    )
    for said in (
        f"| {train_gpu.FACE.name} |",
        "| 5 x 32 x 32 |",
        f"torch {torch.__version__.split('+')[0]}",
        f"No time for: {every[0]}",
    ):
        assert said in text


def test_the_rungs_are_compared_as_far_as_they_were_measured() -> None:
    def row(step_s: float, hfu: float | None = None, loss: float = 1.0) -> dict[str, Any]:
        return {"step_s": step_s, "hfu": hfu, "loss": loss}

    rows = {
        train_gpu.PLAIN.name: row(5.0),
        train_gpu.AHEAD.name: row(1.98),
        train_gpu.FACE.name: row(2.0, hfu=0.5),
        train_gpu.DETERMINISTIC.name: row(2.2, loss=1.001),
    }
    assert train_gpu.compare(rows) == pytest.approx(
        {
            "ratio_plain": 2.5,
            "share_face_branch": 0.01,
            "hfu_face_branch": 0.5,
            "cost_deterministic": 0.1,
            "loss_difference_deterministic": 0.001,
        }
    )
    assert train_gpu.compare({train_gpu.PLAIN.name: row(5.0)}) == {}
    assert train_gpu.compare({train_gpu.FACE.name: row(2.0)}) == {}
