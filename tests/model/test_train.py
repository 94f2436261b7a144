"""The loop: it learns, resumes to the same bits, stops before an update it cannot trust, and does nothing twice."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_post_hook

from model.base_build import build_tiny_base
from model.base_specs import TINY_TWO_EXPERTS
from model.checkpoint import read_manifest
from model.data import DataError, read_clip_latents, write_clip_latents
from model.presets import Preset
from model.train import TrainingError, TrainReport, TrainResult, train

Quick = Callable[..., Preset]


class Killed(Exception):
    pass


@pytest.fixture
def run(latent_files: list[Path], base_dir: Path) -> Callable[..., TrainResult]:
    """Trains on the shared clips; killed after `until` updates where given."""

    def go(config: Preset, out_dir: Path, files: list[Path] | None = None, until: int | None = None) -> TrainResult:
        def report(progress: TrainReport) -> None:
            if progress.step == until:
                raise Killed

        return train(config, files or latent_files, base_dir, out_dir, report, dataset_version="v1", device="cpu")

    return go


def test_the_loss_falls_by_a_fifth_on_fixed_triples(run: Callable, quick: Quick, tmp_path: Path) -> None:
    result = run(quick(steps=30, lr=5e-3, fixed_triples=16, trainable="all"), tmp_path)
    assert result.loss_after <= 0.8 * result.loss_before


@pytest.mark.parametrize("trainable", ["adapter_and_lora", "all"])
def test_killed_at_any_step_it_ends_with_the_same_bits(run: Callable, quick: Quick, tmp_path: Path, trainable: str) -> None:
    config = quick(steps=5, checkpoint_every=2, trainable=trainable)
    whole = read_manifest(run(config, tmp_path / "whole").checkpoint_dir)
    for step in (1, 2, 4):
        with pytest.raises(Killed):
            run(config, tmp_path / str(step), until=step)
        resumed = run(config, tmp_path / str(step))
        # Reports come before states are saved: a kill in the report of step 2 loses that step.
        assert resumed.resumed_from == {1: 0, 2: 0, 4: 2}[step]
        assert read_manifest(resumed.checkpoint_dir) == whole  # the hashes of all parts, and both losses


def test_two_transformers_resume_to_the_same_bits(latent_files: list[Path], quick: Quick, tmp_path: Path) -> None:
    """One clip an update: some updates reach one of the two alone, which then has no moments to save for the other."""
    base = tmp_path / "base"
    info = build_tiny_base(base, spec=TINY_TWO_EXPERTS)
    files = []
    for file in latent_files:
        clip = read_clip_latents(file)
        files.append(tmp_path / file.name)
        write_clip_latents(files[-1], replace(clip, meta=clip.meta.model_copy(update={"base_sha256": info.sha256})))
    config = quick(steps=4, checkpoint_every=1, trainable="adapter_and_lora", batch_size=1)

    def go(out_dir: Path, until: int | None = None) -> TrainResult:
        def report(progress: TrainReport) -> None:
            if progress.step == until:
                raise Killed

        return train(config, files, base, out_dir, report, dataset_version="v1", device="cpu")

    whole = read_manifest(go(tmp_path / "whole").checkpoint_dir)
    assert set(whole.parts) == {"adapter", "adapter_2", "lora", "lora_2"}
    for step in (2, 3, 4):
        with pytest.raises(Killed):
            go(tmp_path / str(step), until=step)
        resumed = go(tmp_path / str(step))
        assert resumed.resumed_from == step - 1
        assert read_manifest(resumed.checkpoint_dir) == whole


@pytest.mark.parametrize("part", ["aligner", "references"])
def test_each_part_trains_by_one_line_of_config(run: Callable, quick: Quick, tmp_path: Path, part: str) -> None:
    """What a part owns moves where it is on, and does not exist where it is off."""
    own = {"aligner": "pose_aligner.dictionary", "references": "null_reference"}[part]
    config = quick(steps=2, reference_dropout=0.9)
    start = quick(steps=1, lr=1e-12)
    off = config.model_copy(update={"fusion": config.fusion.model_copy(update={part: None})})
    tensors = [
        load_file(run(chosen, tmp_path).checkpoint_dir / "adapter" / "diffusion_pytorch_model.safetensors")
        for chosen in (config, start, off)
    ]
    assert (tensors[0][own] - tensors[1][own]).abs().max() > 1e-5
    assert own not in tensors[2]


def test_clips_without_views_train_where_no_part_asks_for_them(
    run: Callable, quick: Quick, latent_files: list[Path], tmp_path: Path
) -> None:
    files = []
    for file in latent_files:
        files.append(tmp_path / file.name)
        write_clip_latents(files[-1], replace(read_clip_latents(file), views=None))
    config = quick(steps=1)
    off = config.model_copy(update={"fusion": config.fusion.model_copy(update={"aligner": None, "references": None})})
    assert run(off, tmp_path / "off", files).steps == 1
    with pytest.raises(DataError, match="holds no views of the face"):
        run(config, tmp_path / "on", files)


def test_a_finished_run_is_returned_as_it_is(run: Callable, quick: Quick, tmp_path: Path) -> None:
    first = run(quick(), tmp_path)
    changed = (first.checkpoint_dir / "lafid.json").stat().st_mtime_ns
    again = run(quick(), tmp_path, until=1)  # would be killed if it trained
    assert again.checkpoint_dir == first.checkpoint_dir
    assert (again.loss_before, again.loss_after) == (first.loss_before, first.loss_after)
    assert again.resumed_from == again.steps
    assert (first.checkpoint_dir / "lafid.json").stat().st_mtime_ns == changed
    assert not (first.checkpoint_dir.parent / "state").exists()


def test_another_setting_or_other_data_is_another_run(
    run: Callable, quick: Quick, latent_files: list[Path], tmp_path: Path
) -> None:
    folders = {
        run(quick(steps=1), tmp_path).checkpoint_dir,
        run(quick(steps=1, seed=1), tmp_path).checkpoint_dir,
        run(quick(steps=1), tmp_path, latent_files[:3]).checkpoint_dir,
        run(quick(steps=1), tmp_path, latent_files[::-1]).checkpoint_dir,  # the order of files is not data
    }
    assert len(folders) == 3


def test_a_loss_that_is_not_finite_stops_before_the_update(
    run: Callable, quick: Quick, latent_files: list[Path], tmp_path: Path
) -> None:
    clip = read_clip_latents(latent_files[2])
    poisoned = tmp_path / "poisoned.safetensors"
    write_clip_latents(poisoned, replace(clip, latents=clip.latents * torch.nan))
    files = [*latent_files[:2], poisoned]
    config = quick(steps=9, batch_size=1, checkpoint_every=1)
    updates: list[None] = []
    hook = register_optimizer_step_post_hook(lambda *_: updates.append(None))
    with pytest.raises(TrainingError, match=r"step \d: loss nan.*clip-2; stopped before the update") as stopped:
        run(config, tmp_path / "run", files)
    hook.remove()
    assert f"step {len(updates)}:" in str(stopped.value)
    (folder,) = (tmp_path / "run").iterdir()
    assert not (folder / "checkpoint").exists()
    states = sorted((folder / "state").glob("step-*"))
    with pytest.raises(TrainingError):
        run(config, tmp_path / "run", files)
    assert sorted((folder / "state").glob("step-*")) == states


def test_clips_of_another_base_are_refused(run: Callable, quick: Quick, latent_files: list[Path], tmp_path: Path) -> None:
    clip = read_clip_latents(latent_files[0])
    foreign = tmp_path / "foreign.safetensors"
    write_clip_latents(foreign, replace(clip, meta=clip.meta.model_copy(update={"base_sha256": "f" * 64})))
    with pytest.raises(DataError, match="encoded with base ffffffffffff"):
        run(quick(), tmp_path, [foreign])


def test_reports_come_at_the_pace_asked_for_and_at_the_end(
    quick: Quick, latent_files: list[Path], base_dir: Path, tmp_path: Path
) -> None:
    heard: list[TrainReport] = []
    config = quick(steps=5, log_every=2, warmup_steps=2, lr=1e-3)
    train(config, latent_files, base_dir, tmp_path, heard.append, dataset_version="v1", device="cpu")
    assert [report.step for report in heard] == [2, 4, 5]
    assert [report.lr for report in heard] == pytest.approx([1e-3, 1e-3 * 0.75, 1e-3 * 0.25])
    assert all(report.steps == 5 and report.grad_norm > 0 for report in heard)
