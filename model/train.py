"""The training loop, top to bottom: cached clips and a base in, a checkpoint out.

Belongs here: the order of a run's steps and the run's own folder. Not here: what an update learns from (`objective`), how it
changes the weights (`optimisation`), how it computes (`execution`), what a checkpoint is (`checkpoint`), and whoever launches
or watches the run: it hears of it through `report`.

`out_dir/<digest>/state/` holds the states of an unfinished run, `out_dir/<digest>/checkpoint/` the finished one, and
`.../checkpoint_ema/` that of the averaged weights; the digest is over preset, data and base. The same call after a kill goes on
where the last state was saved and ends with the same bits (on a CPU, with as many threads and processes); after the end it
returns what is there.
"""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from model.base import BaseInfo, read_base_info
from model.checkpoint import EmbeddingSource, Manifest, read_manifest, write_checkpoint
from model.data import ClipSet, DataError
from model.execution import autocast, load_for_training, prepare, reproducible
from model.memory_estimate import card_memory_gib, check_fits, what_to_lower
from model.metrics import fixed_flow_loss
from model.objective import StepLosses, backward
from model.optimisation import MovingAverage, gradient_norms, learning_rate
from model.parallel import Ranks, join_ranks
from model.presets import Preset
from model.train_report import Meter, TrainReport, TrainResult
from model.train_state import TrainState, naming_disk_errors, restore_state, save_state
from model.trainable import FusedModel, assemble


class TrainingError(RuntimeError):
    """A run cannot go on; the message names the step and the clips, or what to change."""


class TrainingStopped(Exception):
    """`stop` said so. The state after `step` updates is saved, and the same call goes on from it."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}; its state is saved")
        self.step = step


def never() -> bool:
    """Do not stop."""
    return False


def train(
    preset: Preset,
    clip_list: Path,
    base_dir: Path,
    out_dir: Path,
    report: Callable[[TrainReport], None],
    *,
    dataset_version: str,
    device: str | None = None,
    stop: Callable[[], bool] = never,
) -> TrainResult:
    """Trains, resumes, or returns what is finished.

    Args:
        preset: everything about the run but its data and base.
        clip_list: the cached clips (`clip_list.write_clip_list`), of which the train split is trained on.
        base_dir: the base they were encoded with.
        out_dir: where runs live, each in a folder of its own.
        report: hears every `log_every` updates, on one process of several; what it raises ends the run, which can be resumed.
        dataset_version: recorded in the checkpoint.
        device: the GPU where there is one, unless named.
        stop: asked after every update; True saves the state and ends the run.

    Raises:
        DataError: no clips or too few, or clips that do not belong together or to this base.
        BaseError: there is no base, or it changed.
        PresetTooLarge: the preset cannot fit the card.
        TrainStateError: a state could not be written, or none of those that are there can be read.
        TrainingError: a loss or gradient is not finite, and nothing was updated with it; or memory ran out.
        TrainingStopped: as `stop` asked.
    """
    started = time.monotonic()
    config = preset.train
    with join_ranks(device) as ranks, reproducible(config.deterministic), _naming_what_to_lower(preset):
        clips, info = ClipSet(clip_list), read_base_info(base_dir)
        _check_data(clips, info, preset, ranks)
        run_dir = out_dir / _run_digest(preset, clips, info, dataset_version)[:16]
        finished, averaged, states = run_dir / "checkpoint", run_dir / "checkpoint_ema", run_dir / "state"
        if finished.is_dir():
            return _result(run_dir, started, resumed_from=config.steps)
        card_gib = card_memory_gib(ranks.device)
        if card_gib is not None:
            check_fits(preset, card_gib, ranks.world)

        base = load_for_training(base_dir, config, ranks)
        model = assemble(base, clips.batch([0]).face, preset.fusion, config)
        prepare(model, config, ranks)
        parameters = model.trainable()
        state = TrainState(
            parameters,
            torch.optim.AdamW(
                parameters.values(), lr=config.lr, weight_decay=config.weight_decay, fused=ranks.device.type == "cuda"
            ),
            None if config.ema_decay is None else MovingAverage(parameters, config.ema_decay),
        )
        restored = restore_state(states, state)
        first, loss_before = restored or (0, _judge(model, clips, preset, ranks))

        model.set_training(True)
        meter = Meter(model, preset, ranks)
        for step in range(first, config.steps):
            losses = backward(model, clips, preset, step, ranks)
            norms = gradient_norms(parameters)
            grad_norm = torch.linalg.vector_norm(torch.stack(list(norms.values())))
            _stop_unless_finite(step, losses, norms, grad_norm)
            torch.nn.utils.clip_grads_with_norm_(parameters.values(), config.max_grad_norm, grad_norm)
            lr = learning_rate(config, step)
            for group in state.optimizer.param_groups:
                group["lr"] = lr
            state.optimizer.step()
            state.optimizer.zero_grad()
            if state.average is not None:
                state.average.update(parameters, step)
            meter.note(losses)

            done = step + 1
            if done % config.log_every == 0 or done == config.steps:
                figures = meter.read(losses, norms)
                seconds = time.monotonic() - started
                if ranks.leads:
                    report(TrainReport(done, config.steps, float(losses.flow.mean()), float(grad_norm), lr, seconds, figures))
            stopping = ranks.any(stop()) and done < config.steps
            if ranks.leads and (stopping or (done % config.checkpoint_every == 0 and done < config.steps)):
                save_state(states, done, loss_before, state, config.keep_states)
            if stopping:
                ranks.wait()
                raise TrainingStopped(done)

        model.set_training(False)
        if state.average is not None:
            with state.average.in_place_of(parameters):
                _finish(averaged, model, clips, preset, ranks, dataset_version, loss_before)
        _finish(finished, model, clips, preset, ranks, dataset_version, loss_before)
        if ranks.leads:
            shutil.rmtree(states, ignore_errors=True)
        ranks.wait()
        return _result(run_dir, started, resumed_from=first)


def _finish(
    folder: Path, model: FusedModel, clips: ClipSet, preset: Preset, ranks: Ranks, dataset_version: str, loss_before: float
) -> None:
    """Judges the model as it is and writes it as a checkpoint, unless a run that was killed after it has."""
    loss_after = _judge(model, clips, preset, ranks)
    if folder.is_dir() or not ranks.leads:
        return
    manifest = Manifest(
        preset=preset,
        base=model.base.info,
        face_engine=EmbeddingSource(
            name=clips.meta.face_engine,
            version=clips.meta.face_engine_version,
            width=model.fusion.config.identity_width,
        ),
        encoders_fingerprint=clips.meta.encoders_fingerprint,
        head_mask=clips.meta.head_mask,
        parts={},
        dataset_version=dataset_version,
        seed=preset.train.seed,
        step=preset.train.steps,
        loss_before=loss_before,
        loss_after=loss_after,
    )
    with naming_disk_errors(f"checkpoint {folder}", "the run goes on from its last state"):
        write_checkpoint(folder, model, manifest)


def _stop_unless_finite(step: int, losses: StepLosses, norms: dict[str, torch.Tensor], grad_norm: torch.Tensor) -> None:
    """One look at the device for all that must be finite, before anything is updated."""
    numbers = torch.stack([losses.flow.sum(), losses.contrastive, grad_norm]).tolist()
    if all(map(math.isfinite, numbers)):
        return
    blamed = [clip for clip, loss in zip(losses.clip_ids, losses.flow.tolist(), strict=True) if not math.isfinite(loss)]
    groups = [group for group, norm in norms.items() if not math.isfinite(float(norm))]
    raise TrainingError(
        f"step {step}: loss {float(losses.flow.mean())}, contrastive loss {numbers[1]}, gradient norm {numbers[2]} of "
        f"{', '.join(groups) or 'the whole'} on clips {', '.join(blamed or losses.clip_ids)}; "
        "stopped before the update. Look at these clips' latents, or lower lr"
    )


def _judge(model: FusedModel, clips: ClipSet, preset: Preset, ranks: Ranks) -> float:
    config = preset.train
    with autocast(config, ranks.device):
        return fixed_flow_loss(model, clips, config.fixed_triples, config.seed, config.flow_shift)


def _check_data(clips: ClipSet, info: BaseInfo, preset: Preset, ranks: Ranks) -> None:
    if clips.meta.base_sha256 != info.sha256:
        raise DataError(
            f"the clips were encoded with base {clips.meta.base_sha256[:12]}, this one is {info.sha256[:12]}: "
            "materialize training_latents again"
        )
    wanted = preset.train.batch_size
    if len(clips) < wanted:
        raise DataError(
            f"{len(clips)} clips are fewer than the {wanted} of a batch, which would hold one twice: "
            "lower train.batch_size, or curate more clips"
        )
    if ranks.world > wanted:
        raise TrainingError(f"{ranks.world} processes share a batch of {wanted} clips: raise train.batch_size, or start fewer")
    # Blocks are gathered in step: every process must run each of them equally often.
    if preset.train.shard_base and (wanted % ranks.world or preset.base.experts > 1):
        raise TrainingError(
            f"shard_base needs one transformer and equal shares, not {preset.base.experts} and a batch of {wanted} clips for "
            f"{ranks.world} processes: set train.shard_base to False, or another train.batch_size"
        )


def _run_digest(preset: Preset, clips: ClipSet, info: BaseInfo, dataset_version: str) -> str:
    facts = [preset.model_dump(), clips.digest, info.sha256, dataset_version]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _result(run_dir: Path, started: float, resumed_from: int) -> TrainResult:
    manifest = read_manifest(run_dir / "checkpoint")
    averaged = run_dir / "checkpoint_ema" if manifest.preset.train.ema_decay is not None else None
    return TrainResult(
        checkpoint_dir=run_dir / "checkpoint",
        loss_before=manifest.loss_before,
        loss_after=manifest.loss_after,
        steps=manifest.step,
        seconds=time.monotonic() - started,
        resumed_from=resumed_from,
        ema_checkpoint_dir=averaged,
        ema_loss_after=None if averaged is None else read_manifest(averaged).loss_after,
    )


@contextmanager
def _naming_what_to_lower(preset: Preset) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        needed, remedies = ". ".join(str(error).split(". ")[:2]), ", ".join(what_to_lower(preset))
        raise TrainingError(f"out of memory in training {preset.name} ({needed}). To save memory: {remedies}") from error
