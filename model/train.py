"""The training loop, top to bottom: cached clips and a base in, a checkpoint out.

Belongs here: the order of a run's steps and the run's own folder. Not here: what a step computes (`flow`, `trainable`), what
a checkpoint is (`checkpoint`), and whoever launches or watches the run: it hears of it through `report`.

`out_dir/<digest>/state/` holds the states of an unfinished run, `out_dir/<digest>/checkpoint/` the finished one; the digest
is over preset, data and base. The same call after a kill goes on where the last state was saved and ends with the same bits
(on a CPU, with as many threads); after the end it returns what is there.
"""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from model.base import Base, load_base
from model.checkpoint import EmbeddingSource, Manifest, read_manifest, write_checkpoint
from model.data import Batch, ClipSet, DataError, batch_indices
from model.draws import choose_pairs, choose_views, hide_references
from model.flow import add_noise, flow_loss, generator, shift_sigma
from model.metrics import fixed_flow_loss
from model.presets import Preset, TrainConfig
from model.train_state import restore_state, save_state
from model.trainable import FusedModel, assemble


class TrainingError(RuntimeError):
    """A run cannot go on; the message names the step and the clips."""


@dataclass(frozen=True)
class TrainReport:
    """How a run stands after `step` updates."""

    step: int
    steps: int
    loss: float
    """Flow loss of the last batch."""
    grad_norm: float
    """Before clipping."""
    lr: float
    seconds: float
    """Since this call began to train."""


@dataclass(frozen=True)
class TrainResult:
    """A finished run."""

    checkpoint_dir: Path
    loss_before: float
    """Mean over the fixed triples before the first update."""
    loss_after: float
    """The same triples after the last."""
    steps: int
    seconds: float
    """This call's; a resumed run took longer in all."""
    resumed_from: int
    """Updates that were done before this call; `steps` where the run was already finished."""


def train(
    preset: Preset,
    latent_files: Sequence[Path],
    base_dir: Path,
    out_dir: Path,
    report: Callable[[TrainReport], None],
    *,
    dataset_version: str,
    device: str | None = None,
) -> TrainResult:
    """Trains, resumes, or returns what is finished.

    Args:
        preset: everything about the run but its data and base.
        latent_files: cached clips (`data.write_clip_latents`), in any order.
        base_dir: the base they were encoded with.
        out_dir: where runs live, each in a folder of its own.
        report: hears every `log_every` updates; what it raises ends the run, which can be resumed.
        dataset_version: recorded in the checkpoint.
        device: the GPU where there is one, unless named.

    Raises:
        DataError: no clips, or clips that do not belong together or to this base.
        TrainingError: a loss or gradient is not finite; nothing was updated with it.
    """
    started = time.monotonic()
    clips = ClipSet(latent_files)
    base = load_base(base_dir, device)
    _check_base(clips, base)
    run_dir = out_dir / _run_digest(preset, clips, base, dataset_version)[:16]
    finished, states = run_dir / "checkpoint", run_dir / "state"
    if finished.is_dir():
        return _result(finished, started, resumed_from=preset.train.steps)

    config = preset.train
    model = assemble(base, clips.batch([0]).face, preset.fusion, config)
    parameters = model.trainable()
    optimizer = torch.optim.AdamW(parameters.values(), lr=config.lr, weight_decay=config.weight_decay)
    restored = restore_state(states, parameters, optimizer)
    first, loss_before = restored or (0, _judge(model, clips, config))

    model.set_training(True)
    for step in range(first, config.steps):
        batch = _draw_batch(clips, preset, step).to(model.device)
        loss = _flow_loss(model, batch, preset, step)
        optimizer.zero_grad()
        (loss + _aligner_loss(model, clips, preset, step)).backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(parameters.values(), config.max_grad_norm)
        _stop_unless_finite(loss, grad_norm, step, batch)
        lr = _learning_rate(config, step)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()

        done = step + 1
        if done % config.log_every == 0 or done == config.steps:
            seconds = time.monotonic() - started
            report(TrainReport(done, config.steps, loss.item(), grad_norm.item(), lr, seconds))
        if done % config.checkpoint_every == 0 and done < config.steps:
            save_state(states, done, loss_before, parameters, optimizer)

    model.set_training(False)
    manifest = Manifest(
        preset=preset,
        base=base.info,
        face_engine=EmbeddingSource(
            name=clips.meta.face_engine,
            version=clips.meta.face_engine_version,
            width=model.fusion.config.identity_width,
        ),
        encoders_fingerprint=clips.meta.encoders_fingerprint,
        parts={},
        dataset_version=dataset_version,
        seed=config.seed,
        step=config.steps,
        loss_before=loss_before,
        loss_after=_judge(model, clips, config),
    )
    write_checkpoint(finished, model, manifest)
    shutil.rmtree(states, ignore_errors=True)
    return _result(finished, started, resumed_from=first)


def _draw_batch(clips: ClipSet, preset: Preset, step: int) -> Batch:
    config, wanted = preset.train, preset.fusion.references
    dice = torch.rand(config.batch_size, generator=generator(config.seed, "text-dropout", step))
    indices = batch_indices(len(clips), config.batch_size, config.seed, step)
    views = choose_views(clips, indices, wanted.views, config.seed, step) if wanted else None
    return clips.batch(indices, (dice < config.text_dropout).tolist(), views)


def _flow_loss(model: FusedModel, batch: Batch, preset: Preset, step: int) -> torch.Tensor:
    """The batch's flow loss. Drawn on the CPU, so that a run does not depend on the device's generator."""
    config, wanted = preset.train, preset.fusion.references
    uniform = torch.rand(config.batch_size, generator=generator(config.seed, "sigma", step))
    sigma = shift_sigma(uniform, config.flow_shift).to(model.device)
    noise = torch.randn(batch.latents.shape, generator=generator(config.seed, "noise", step)).to(model.device)
    keep_face = torch.rand(config.batch_size, generator=generator(config.seed, "face-dropout", step)) >= config.face_dropout
    dice = torch.rand((), generator=generator(config.seed, "first-frame-dropout", step))
    first_frame = bool(dice >= config.first_frame_dropout)
    references = None
    if wanted is not None and batch.references is not None:
        patch = model.base.transformer.config.patch_size
        hidden = hide_references(batch.references, wanted, config.reference_dropout, patch, config.seed, step)
        references = hidden.to(model.device)
    noisy = add_noise(batch.latents, noise, sigma, first_frame)
    velocity = model.velocity(noisy, sigma, batch, keep_face.to(model.device), references, first_frame)
    return flow_loss(velocity, batch.latents, noise, first_frame).mean()


def _aligner_loss(model: FusedModel, clips: ClipSet, preset: Preset, step: int) -> torch.Tensor:
    """The weighted contrastive loss on a batch of its own; zero without an aligner."""
    wanted = preset.fusion.aligner
    if wanted is None:
        return torch.zeros((), device=model.device)
    pairs = choose_pairs(clips, wanted, preset.train.seed, step).to(model.device)
    return wanted.loss_weight * model.contrastive_loss(pairs)


def _learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warmup, then cosine to zero; a function of the step alone."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.lr * 0.5 * (1 + math.cos(math.pi * progress))


def _stop_unless_finite(loss: torch.Tensor, grad_norm: torch.Tensor, step: int, batch: Batch) -> None:
    if not (torch.isfinite(loss) and torch.isfinite(grad_norm)):
        raise TrainingError(
            f"step {step}: loss {loss.item()}, gradient norm {grad_norm.item()} on clips {', '.join(batch.clip_ids)}; "
            "stopped before the update. Look at these clips' latents, or lower lr"
        )


def _judge(model: FusedModel, clips: ClipSet, config: TrainConfig) -> float:
    return fixed_flow_loss(model, clips, config.fixed_triples, config.seed, config.flow_shift)


def _check_base(clips: ClipSet, base: Base) -> None:
    if clips.meta.base_sha256 != base.info.sha256:
        raise DataError(
            f"the clips were encoded with base {clips.meta.base_sha256[:12]}, this one is {base.info.sha256[:12]}: "
            "materialize training_latents again"
        )


def _run_digest(preset: Preset, clips: ClipSet, base: Base, dataset_version: str) -> str:
    facts = [preset.model_dump(), clips.digests(), base.info.sha256, dataset_version]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _result(checkpoint_dir: Path, started: float, resumed_from: int) -> TrainResult:
    manifest = read_manifest(checkpoint_dir)
    return TrainResult(
        checkpoint_dir=checkpoint_dir,
        loss_before=manifest.loss_before,
        loss_after=manifest.loss_after,
        steps=manifest.step,
        seconds=time.monotonic() - started,
        resumed_from=resumed_from,
    )
