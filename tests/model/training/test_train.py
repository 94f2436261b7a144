"""The loop: it learns, resumes to the same bits, stops before an update it cannot trust, and does nothing twice."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_post_hook

import model.training.optimisation
import model.training.state
import model.training.train
import model.training.validation
from model.bases.base import load_base
from model.bases.build import build_tiny_base
from model.bases.specs import TINY_TWO_EXPERTS
from model.clips.clip_set import DataError
from model.presets import Preset
from model.release.checkpoint import load_checkpoint, read_manifest
from model.training.memory_estimate import PresetTooLarge
from model.training.state import TrainStateError, newest_step
from model.training.train import TrainingError, TrainingStopped, TrainReport, TrainResult, train
from tests.model.cached_clips import ClipLatents, write_clips
from tests.model.training.conftest import Killed

Quick = Callable[..., Preset]


def test_the_loss_falls_by_a_fifth_on_fixed_triples(run: Callable, quick: Quick, tmp_path: Path) -> None:
    result = run(quick(steps=10, lr=1e-2, fixed_triples=8, trainable="all"), tmp_path)
    assert result.loss_after <= 0.8 * result.loss_before


@pytest.mark.long
def test_killed_at_any_step_it_ends_with_the_same_bits(run: Callable, quick: Quick, tmp_path: Path) -> None:
    config = quick(steps=5, checkpoint_every=2, trainable="all")
    whole = read_manifest(run(config, tmp_path / "whole").checkpoint_dir)
    for step in (1, 2, 4):
        with pytest.raises(Killed):
            run(config, tmp_path / str(step), until=step)
        resumed = run(config, tmp_path / str(step))
        # Reports come before states are saved: a kill in the report of step 2 loses that step.
        assert resumed.resumed_from == {1: 0, 2: 0, 4: 2}[step]
        assert read_manifest(resumed.checkpoint_dir) == whole  # the hashes of all parts, and both losses


KILLS = ("report", "stop", "update", "save", "torn")


def go_until_killed(go: Callable[..., TrainResult], folder: Path, how: str, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts a run that meets its end at step `at`, in one of the places where runs end; it may finish before."""
    steps = 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return how in ("stop", "torn") and steps == at

    def kill(*_: object) -> None:
        raise Killed

    def disk_full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if how == "update":
            calls = iter(range(1000))
            patch.setattr(model.training.train, "gradient_norms", lambda found: kill() if next(calls) == at else norms(found))
            norms = model.training.optimisation.gradient_norms
        if how == "save":
            saves = iter(range(1000))
            write = model.training.state.save_file
            patch.setattr(model.training.state, "save_file", lambda *a: disk_full() if next(saves) == at else write(*a))
        with suppress(Killed, TrainingStopped, TrainStateError):
            go(folder, until=at if how == "report" else None, stop=stop)
    states = sorted(folder.glob("*/state/step-*"))
    if how == "torn" and len(states) > 1:
        torn = states[-1] / "parameters.safetensors"
        torn.write_bytes(torn.read_bytes()[:-1])


SHORT = (("report", 1, None), ("report", 2, None), ("save", 1, None), ("report", 4, 2), ("update", 1, 2), ("stop", 3, 3))
"""Ends of one run after the other, at which step, and the state that each leaves. Reports come before states are saved: a kill
in the report of step 2 loses that step."""


@pytest.mark.soak
def test_whatever_kills_it_wherever_it_ends_with_the_same_bits(
    clip_list: Path, base_dir: Path, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soak: bool
) -> None:
    """The same losses, weights and averages as the run that nothing stopped: in a run that meets every end, and, at length, as a
    property over random ends, several a run."""
    config = quick(steps=5, batch_size=3, forward_clips=2, checkpoint_every=2, trainable="adapter_and_lora", ema_decay=0.9)
    losses: dict[int, tuple[float, float]] = {}

    def go(out_dir: Path, until: int | None = None, stop: Callable[[], bool] = model.training.train.never) -> TrainResult:
        def report(progress: TrainReport) -> None:
            exact = (progress.loss, progress.grad_norm)
            assert losses.setdefault(progress.step, exact) == exact
            if progress.step == until:
                raise Killed

        return train(config, clip_list, base_dir, out_dir, report, dataset_version="v1", device="cpu", stop=stop)

    whole = go(tmp_path / "whole")
    assert sorted(losses) == [1, 2, 3, 4, 5]

    def check(folder: Path) -> int:
        again = go(folder)
        assert read_manifest(again.checkpoint_dir) == read_manifest(whole.checkpoint_dir)  # the hashes of all parts, both losses
        assert read_manifest(again.ema_checkpoint_dir) == read_manifest(whole.ema_checkpoint_dir)
        return again.resumed_from

    [run_dir] = (path.name for path in (tmp_path / "whole").iterdir())
    for how, at, left in SHORT:
        go_until_killed(go, tmp_path / "short", how, at, monkeypatch)
        assert newest_step(tmp_path / "short" / run_dir / "state") == left, (how, at)
    go_until_killed(go, tmp_path / "short", "torn", 2, monkeypatch)
    assert check(tmp_path / "short") == 2, "the state of step 3 is torn"
    if not soak:
        return
    runs = iter(range(1000))

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.tuples(st.sampled_from(KILLS), st.integers(1, 5)), min_size=1, max_size=3))
    def check_random(ends: list[tuple[str, int]]) -> None:
        folder = tmp_path / str(next(runs))
        for how, at in ends:
            go_until_killed(go, folder, how, at, monkeypatch)
        check(folder)

    check_random()


def test_stopped_it_saves_at_once_and_goes_on_from_there(quick: Quick, clip_list: Path, base_dir: Path, tmp_path: Path) -> None:
    config = quick(steps=3, checkpoint_every=100)
    asked = iter([False, False, True])
    arguments = (config, clip_list, base_dir, tmp_path, lambda _: None)
    with pytest.raises(TrainingStopped, match="after step 2") as stopped:
        train(*arguments, dataset_version="v1", device="cpu", stop=lambda: next(asked))
    assert stopped.value.step == 2
    assert train(*arguments, dataset_version="v1", device="cpu").resumed_from == 2


def test_cancelled_at_any_moment_of_an_update_it_ends_with_the_same_bits(
    run: Callable, quick: Quick, clip_list: Path, base_dir: Path, tmp_path: Path
) -> None:
    """Before every forward of every update, one cancel after the other in one run; half an update leaves no trace."""
    config = quick(steps=2, batch_size=2, forward_clips=1, checkpoint_every=100, trainable="adapter_and_lora", ema_decay=0.9)
    whole = run(config, tmp_path / "whole")
    forwards = 2
    for step, forward in ((0, 0), (0, 1), (1, 0), (1, 1)):
        # A step that is begun anew is left at its forward; the first of the second comes after all of the first.
        asked = iter([False] * (forward or step * forwards) + [True])
        with pytest.raises(TrainingStopped) as stopped:
            train(
                *(config, clip_list, base_dir, tmp_path / "cut", lambda _: None),
                dataset_version="v1",
                device="cpu",
                stop=lambda asked=asked: next(asked),
            )
        assert (stopped.value.step, next(asked, None)) == (step, None)
    resumed = run(config, tmp_path / "cut")
    assert resumed.resumed_from == 1
    for kind in ("checkpoint_dir", "ema_checkpoint_dir"):
        assert read_manifest(getattr(resumed, kind)) == read_manifest(getattr(whole, kind))


def test_the_average_is_a_checkpoint_of_its_own(run: Callable, quick: Quick, base_dir: Path, tmp_path: Path) -> None:
    result = run(quick(steps=2, ema_decay=0.9), tmp_path / "with")
    last, averaged = (
        load_checkpoint(folder, load_base(base_dir, "cpu")) for folder in (result.checkpoint_dir, result.ema_checkpoint_dir)
    )
    distances = [
        (value - dict(averaged.fusion.named_parameters())[name]).abs().max() for name, value in last.fusion.named_parameters()
    ]
    assert max(distances) > 1e-4
    assert read_manifest(result.ema_checkpoint_dir).averaged
    assert read_manifest(result.ema_checkpoint_dir).loss_after != result.loss_after
    without = run(quick(steps=2, ema_decay=None), tmp_path / "without")
    assert without.ema_checkpoint_dir is None
    assert without.best_ema_checkpoint_dir is None
    # Averaging looks on: it changes nothing of what is trained.
    assert read_manifest(without.checkpoint_dir).parts == read_manifest(result.checkpoint_dir).parts


def test_it_resumes_exactly_however_it_computes(run: Callable, quick: Quick, tmp_path: Path) -> None:
    """All at once: a part that was not exact would show in the whole."""
    how = {"precision": "bfloat16", "gradient_checkpointing": True, "deterministic": True}
    config = quick(steps=2, checkpoint_every=1, batch_size=1, trainable="adapter_and_lora", **how)
    whole = read_manifest(run(config, tmp_path / "whole").checkpoint_dir)
    with pytest.raises(Killed):
        run(config, tmp_path / "cut", until=2)
    resumed = run(config, tmp_path / "cut")
    assert resumed.resumed_from == 1
    assert read_manifest(resumed.checkpoint_dir) == whole


@pytest.mark.long
def test_two_transformers_resume_to_the_same_bits(cached: list[ClipLatents], quick: Quick, tmp_path: Path) -> None:
    """One clip an update: some updates reach one of the two alone, which then has no moments to save for the other."""
    base = tmp_path / "base"
    info = build_tiny_base(base, spec=TINY_TWO_EXPERTS)
    clips = [replace(clip, meta=clip.meta.model_copy(update={"base_sha256": info.sha256})) for clip in cached]
    clip_list = write_clips(tmp_path / "latents", clips)
    config = quick(steps=4, checkpoint_every=1, trainable="adapter_and_lora", batch_size=1)

    def go(out_dir: Path, until: int | None = None) -> TrainResult:
        def report(progress: TrainReport) -> None:
            if progress.step == until:
                raise Killed

        return train(config, clip_list, base, out_dir, report, dataset_version="v1", device="cpu")

    whole = read_manifest(go(tmp_path / "whole").checkpoint_dir)
    assert set(whole.parts) == {"adapter", "adapter_2", "lora", "lora_2"}
    for step in (2, 3, 4):
        with pytest.raises(Killed):
            go(tmp_path / str(step), until=step)
        resumed = go(tmp_path / str(step))
        assert resumed.resumed_from == step - 1
        assert read_manifest(resumed.checkpoint_dir) == whole


def test_each_part_trains_by_one_line_of_config(run: Callable, quick: Quick, tmp_path: Path) -> None:
    """What a part owns moves where it is on, and does not exist where it is off."""
    own = {"aligner": "pose_aligner.dictionary", "references": "null_reference"}
    config = quick(steps=2, reference_dropout=0.9)
    start = quick(steps=1, lr=1e-12)
    off = config.model_copy(update={"fusion": config.fusion.model_copy(update=dict.fromkeys(own))})
    trained, fresh, without = (
        load_file(run(chosen, tmp_path).checkpoint_dir / "adapter" / "diffusion_pytorch_model.safetensors")
        for chosen in (config, start, off)
    )
    for name in own.values():
        assert (trained[name] - fresh[name]).abs().max() > 1e-5
        assert name not in without


def test_a_finished_run_is_returned_as_it_is(run: Callable, quick: Quick, tmp_path: Path) -> None:
    first = run(quick(steps=2), tmp_path)
    changed = (first.checkpoint_dir / "lafid.json").stat().st_mtime_ns
    again = run(quick(steps=2), tmp_path, until=1)  # would be killed if it trained
    assert again.checkpoint_dir == first.checkpoint_dir
    assert (again.loss_before, again.loss_after) == (first.loss_before, first.loss_after)
    assert again.resumed_from == again.steps
    assert (first.checkpoint_dir / "lafid.json").stat().st_mtime_ns == changed
    assert not (first.checkpoint_dir.parent / "state").exists()


class _Folder(Exception):
    """The folder of a run that did not begin."""


class _Asking:
    """In the place of what keeps runs elsewhere, and is told of a run's folder before it begins."""

    def fetch(self, run_dir: Path) -> None:
        raise _Folder(run_dir)


def test_another_setting_or_other_data_is_another_run(
    run: Callable, quick: Quick, clip_list: Path, cached: list[ClipLatents], tmp_path: Path
) -> None:
    fewer, backwards = (write_clips(tmp_path / str(len(some)), some) for some in (cached[:3], cached[::-1]))

    def folder(clips: Path, **train: object) -> object:
        with pytest.raises(_Folder) as told:
            run(quick(steps=1, **train), tmp_path / "runs", clips, keeper=_Asking())
        return told.value.args[0]

    usual = folder(clip_list)
    assert len({usual, folder(clip_list, seed=1), folder(fewer)}) == 3
    assert folder(backwards) == usual, "the order in which they were cached is not data"


def test_a_loss_that_is_not_finite_stops_before_the_update(
    run: Callable, quick: Quick, cached: list[ClipLatents], tmp_path: Path
) -> None:
    poisoned = replace(cached[2], latents=cached[2].latents * torch.nan)
    clips = write_clips(tmp_path / "latents", [*cached[:2], poisoned])
    config = quick(steps=9, batch_size=1, checkpoint_every=1)
    updates: list[None] = []
    hook = register_optimizer_step_post_hook(lambda *_: updates.append(None))
    with pytest.raises(TrainingError, match=r"step \d: loss nan.*on clips clip-2; stopped before the update") as stopped:
        run(config, tmp_path / "run", clips)
    hook.remove()
    assert f"step {len(updates)}:" in str(stopped.value)
    (folder,) = (tmp_path / "run").iterdir()
    assert not (folder / "checkpoint").exists()
    states = sorted((folder / "state").glob("step-*"))
    with pytest.raises(TrainingError):
        run(config, tmp_path / "run", clips)
    assert sorted((folder / "state").glob("step-*")) == states


def test_a_gradient_that_is_not_finite_names_its_group_and_the_whole_batch(
    run: Callable, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms = model.training.train.gradient_norms

    def spoilt(parameters: dict) -> dict:
        parameters["adapter/null_tokens"].grad.fill_(torch.inf)
        return norms(parameters)

    monkeypatch.setattr(model.training.train, "gradient_norms", spoilt)
    blamed = r"step 0: loss \d.*gradient norm inf of adapter/null_tokens on clips clip-\d, clip-\d; stopped before the update"
    with pytest.raises(TrainingError, match=blamed):
        run(quick(), tmp_path)


def test_fewer_clips_than_a_batch_are_refused(run: Callable, quick: Quick, cached: list[ClipLatents], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 clips are fewer than the 3 of a batch.*lower train\.batch_size"):
        run(quick(batch_size=3), tmp_path / "runs", write_clips(tmp_path, cached[:2]))
    assert not (tmp_path / "runs").exists()


def test_a_preset_too_large_is_refused_before_anything_is_loaded(
    run: Callable, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.training.train, "card_memory_gib", lambda _device: 1e-3)
    monkeypatch.setattr("model.training.memory_estimate.PRESETS", {})
    monkeypatch.setattr(model.training.train, "load_for_training", lambda *_, **__: pytest.fail("it loaded the base"))
    with pytest.raises(PresetTooLarge, match="preset tiny needs at least"):
        run(quick(), tmp_path)


def test_out_of_memory_says_what_to_lower(run: Callable, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB. GPU 0 has")

    monkeypatch.setattr(model.training.train, "backward", exhausted)
    with pytest.raises(TrainingError) as stopped:
        run(quick(), tmp_path)
    assert str(stopped.value).startswith("out of memory in training tiny (CUDA out of memory. Tried to allocate 20 GiB). To save")
    assert "lower train.forward_clips (2)" in str(stopped.value)


def test_a_full_disk_at_the_end_leaves_the_last_state(
    run: Callable, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    config = quick(steps=2, ema_decay=None)
    with monkeypatch.context() as patch:
        patch.setattr(model.training.validation, "write_checkpoint", full)
        with pytest.raises(TrainStateError, match=r"checkpoint .*/checkpoint could not be written .*No space left"):
            run(config, tmp_path)
    assert run(config, tmp_path).resumed_from == 2, "nothing is trained again"


def test_the_checkpoint_says_what_cut_its_heads_out(
    run: Callable, quick: Quick, cached: list[ClipLatents], tmp_path: Path
) -> None:
    by = {"mask": "modnet", "mask_sha256": "0" * 64}
    clips = write_clips(tmp_path, [replace(clip, meta=clip.meta.model_copy(update=by)) for clip in cached])
    manifest = read_manifest(run(quick(steps=1), tmp_path / "runs", clips).checkpoint_dir)
    assert (manifest.head_mask.name, manifest.head_mask.sha256) == ("modnet", "0" * 64)


def test_clips_of_another_base_are_refused(run: Callable, quick: Quick, cached: list[ClipLatents], tmp_path: Path) -> None:
    foreign = replace(cached[0], meta=cached[0].meta.model_copy(update={"base_sha256": "f" * 64}))
    with pytest.raises(DataError, match="encoded with base ffffffffffff"):
        run(quick(), tmp_path / "runs", write_clips(tmp_path, [foreign]))


def test_reports_come_at_the_pace_asked_for_and_at_the_end(
    quick: Quick, clip_list: Path, base_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lafid.training")
    heard: list[TrainReport] = []
    config = quick(steps=5, log_every=2, warmup_steps=2, lr=1e-3, batch_size=1)
    train(config, clip_list, base_dir, tmp_path, heard.append, dataset_version="v1", device="cpu")
    assert [report.step for report in heard] == [2, 4, 5]
    assert [report.lr for report in heard] == pytest.approx([1e-3, 1e-3 * 0.75, 1e-3 * 0.25])
    assert all(report.steps == 5 and report.grad_norm > 0 for report in heard)
    assert [name for name in heard[0].metrics if name.startswith("lr/")] == ["lr/adapter", "lr/aligner", "lr/base"]
    assert re.search(r"adapter 0\.\d M at 0\.001, aligner 0\.0 M at 0\.005, base \d\.\d M at 0\.005", caplog.text)
