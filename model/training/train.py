"""The training loop, top to bottom: cached clips and a base in, a checkpoint out.

Belongs here: the order of a run's steps and the run's own folder. Not here: what an update learns from (`objective`), how it
changes the weights (`optimisation`), how it computes (`execution`), what a checkpoint is (`release.checkpoint`), and whoever
launches or watches the run: it hears of it through `report`.

`out_dir/<digest>/state/` holds the states of an unfinished run, `.../checkpoints/` the judged ones on its way,
`.../checkpoint/` the finished one, `.../checkpoints_ema/` and `.../checkpoint_ema/` those of the averaged weights; the digest is
over preset, data and base. The same call after a kill goes on where the last state was saved and ends with the same bits (on a
CPU, with as many threads and processes); after the end it returns what is there.
"""

import hashlib
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from model.bases.base import BaseInfo, read_base_info
from model.clips.clip_list import ClipList
from model.clips.clip_set import ClipSet, DataError
from model.face_branch.trainable import assemble
from model.presets import Preset
from model.release.checkpoint import read_manifest
from model.training.batch_sampler import Order
from model.training.checkpoint_retention import AVERAGED_CHECKPOINTS, CHECKPOINTS, best_of, checkpoints_in, sweep_torn
from model.training.execution import evaluating, load_for_training, prepare, reproducible
from model.training.heartbeat import EndedTogether
from model.training.memory_estimate import card_memory_gib, check_fits, what_to_lower
from model.training.objective import StepLosses, UpdateDropped, backward
from model.training.optimisation import MovingAverage, clip_gradients, gradient_norms, rated_groups, set_rates
from model.training.parallel import Ranks, join_ranks
from model.training.prefetch import one_ahead
from model.training.rank_agreement import check_equal
from model.training.report import Meter, TrainReport, TrainResult
from model.training.run_storage import Keeper
from model.training.sampling import draw_steps
from model.training.state import TrainState, restore_state
from model.training.state_writer import StateWriter
from model.training.validation import AVERAGED, LAST, STATES, Judging, Onlooker
from model.training.validation_loss import Judge

_LOGGER = logging.getLogger("lafid.training")


class TrainingError(RuntimeError):
    """A run cannot go on; the message names the step and the clips, or what to change."""


class TrainingStopped(EndedTogether):
    """`stop` said so. The state after `step` updates is saved, and the same call goes on from it."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}; its state is saved")
        self.step = step


def never() -> bool:
    """Do not stop."""
    return False


def nowhere(_: Path) -> None:
    """Keep a run nowhere else."""


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
    onlooker: Onlooker | None = None,
    keeper: Keeper | None = None,
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
        stop: asked before every forward; True drops the update that is being computed, saves the state before it and ends.
        onlooker: draws with every judged model and hears how it was judged, on one process.
        keeper: keeps the run's folder elsewhere, too; None: it lies on a disk that every machine sees, or need not.

    Raises:
        DataError: no clips or too few, or clips that do not belong together or to this base.
        BaseError: there is no base, or it changed.
        PresetTooLarge: the preset cannot fit the card.
        RanksDiffer: processes began with different weights.
        RankLost: another process is gone.
        TrainStateError: a state could not be written, or none of those that are there can be read.
        TrainingError: a loss or gradient is not finite, and nothing was updated with it; or memory ran out.
        TrainingStopped: as `stop` asked.
    """
    started = time.monotonic()
    config = preset.train
    with (
        join_ranks(device) as ranks,
        reproducible(config.deterministic),
        _naming_what_to_lower(preset),
        ThreadPoolExecutor(1, "lafid-reader") as reader,
        ExitStack() as stack,
    ):
        clips, info = ClipSet(clip_list), read_base_info(base_dir)
        _check_data(clips, info, preset, ranks)
        order = Order(tuple(clips.buckets.values()), config.batch_size, config.seed)
        left_out = _name_left_out(order, clips, ranks)
        held_out = ClipSet(clip_list, "validation") if config.validate_every and len(ClipList(clip_list, "validation")) else None
        judge = Judge(preset, clips, held_out, dataset_version, ranks)
        run_dir = out_dir / _run_digest(judge, info)[:16]
        states = run_dir / STATES
        if keeper is not None and os.environ.get("LOCAL_RANK", "0") == "0":
            keeper.fetch(run_dir)
        if ranks.leads:
            sweep_torn(run_dir / CHECKPOINTS)
            sweep_torn(run_dir / AVERAGED_CHECKPOINTS)
        ranks.wait()
        if (run_dir / LAST).is_dir():
            return _result(run_dir, started, config.steps, left_out)
        card_gib = card_memory_gib(ranks.device)
        if card_gib is not None:
            check_fits(preset, card_gib, ranks.world)

        base = load_for_training(base_dir, config, draws=onlooker is not None and onlooker.draws)
        model = assemble(base, clips.batch([0]).face, preset.fusion, config)
        check_equal(dict(model.named()), ranks)  # before one of them holds a part of it alone
        prepare(model, config, ranks)
        parameters = model.trainable()
        state = TrainState(
            parameters,
            torch.optim.AdamW(
                rated_groups(parameters, config), weight_decay=config.weight_decay, fused=ranks.device.type == "cuda"
            ),
            None if config.ema_decay is None else MovingAverage(parameters, config.ema_decay),
        )
        _name_rates(state.optimizer, ranks)
        restored = restore_state(states, state)
        check_equal(_named_state(state, restored), ranks)
        first, loss_before = restored or (0, judge.loss(model, clips))

        keep = nowhere if keeper is None else keeper.keep
        judging = Judging(run_dir, judge, onlooker, loss_before, keep)
        writer = stack.enter_context(StateWriter(states, state, config, loss_before, restored and first, keep))
        model.set_training(True)
        meter = Meter(model, preset, ranks)
        for draws, data_wait_s in one_ahead(draw_steps(clips, order, preset, first, ranks), reader):
            step = draws.step
            due = config.validate_every is not None and step > 0 and step % config.validate_every == 0
            if ranks.leads and step > first:
                writer.save_if_due(step)
            if due:
                # It takes its time, and a kill in it shall not cost the updates since the last state.
                if ranks.leads:
                    writer.save(step)
                with meter.paused(), evaluating(model):
                    judging.on_the_way(model, state, step)
            try:
                # A run that is stopped while it judges goes on from here and comes to it again.
                losses = backward(model, draws, preset, ranks, stop)
            except UpdateDropped:
                if ranks.leads:
                    writer.save(step)  # nothing changes between two updates
                    writer.finish()
                ranks.wait()
                raise TrainingStopped(step) from None
            norms = gradient_norms(parameters)
            grad_norm = torch.linalg.vector_norm(torch.stack(list(norms.values())))
            _stop_unless_finite(step, losses, norms, grad_norm)
            clip_gradients(state.optimizer, config.max_grad_norm)
            rates = set_rates(state.optimizer, config, step)
            state.optimizer.step()
            state.optimizer.zero_grad()
            if state.average is not None:
                state.average.update(parameters, step)
            meter.note(losses, data_wait_s)

            done = step + 1
            if done % config.log_every == 0 or done == config.steps:
                figures = meter.read(losses, norms) | {f"lr/{name}": rate for name, rate in rates.items()} | writer.figures()
                seconds = time.monotonic() - started
                if ranks.leads:
                    report(
                        TrainReport(
                            done, config.steps, float(losses.flow.mean()), float(grad_norm), rates["adapter"], seconds, figures
                        )
                    )

        if ranks.leads:
            writer.save(config.steps)
        model.set_training(False)
        if not judging.at_the_end(model, state):
            writer.finish()
            raise TrainingStopped(config.steps)
        if ranks.leads:
            writer.finish()
            shutil.rmtree(states, ignore_errors=True)
            keep(run_dir)
        ranks.wait()
        return _result(run_dir, started, first, left_out)


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


def _check_data(clips: ClipSet, info: BaseInfo, preset: Preset, ranks: Ranks) -> None:
    if clips.meta.base_sha256 != info.sha256:
        raise DataError(
            f"the clips were encoded with base {clips.meta.base_sha256[:12]}, this one is {info.sha256[:12]}: "
            "materialize training_latents again"
        )
    if preset.train.trainable == "all" and (preset.train.shard_base or preset.train.offload_base):
        raise TrainingError(
            "shard_base and offload_base are for frozen weights, of which trainable all leaves none: set both to False"
        )
    wanted = preset.train.batch_size
    if ranks.world > wanted:
        raise TrainingError(f"{ranks.world} processes share a batch of {wanted} clips: raise train.batch_size, or start fewer")


def _name_left_out(order: Order, clips: ClipSet, ranks: Ranks) -> tuple[str, ...]:
    """The clips that are in no batch, which the log is told of."""
    left_out = tuple(clips.clip_ids[index] for index in order.left_out)
    if left_out and ranks.leads:
        reason = f"since of their sizes there are fewer than the {order.batch_size} clips of a batch"
        _LOGGER.warning("%d of %d clips are left out, %s: %s", len(left_out), len(clips), reason, ", ".join(left_out))
    return left_out


def _name_rates(optimizer: torch.optim.Optimizer, ranks: Ranks) -> None:
    """What trains and how fast at most, for the log."""
    parts = [
        f"{group['name']} {sum(value.numel() for value in group['params']) / 1e6:.1f} M at {group['peak_lr']:g}"
        for group in optimizer.param_groups
    ]
    if ranks.leads:
        _LOGGER.info("parameters and their peak learning rates: %s", ", ".join(parts))


def _named_state(state: TrainState, restored: tuple[int, float] | None) -> dict[str, torch.Tensor]:
    tensors = {f"{file}: {name}": tensor for file, found in state.files().items() for name, tensor in found.items()}
    return {"number of updates": torch.tensor(-1 if restored is None else restored[0])} | tensors


def _run_digest(judge: Judge, info: BaseInfo) -> str:
    held_out = None if judge.held_out is None else judge.held_out.digest
    facts = [judge.preset.of_training(), judge.clips.digest, held_out, info.sha256, judge.dataset_version]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _result(run_dir: Path, started: float, resumed_from: int, left_out: tuple[str, ...]) -> TrainResult:
    last, averaged = run_dir / LAST, run_dir / AVERAGED
    manifest = read_manifest(last)
    with_average = manifest.preset.train.ema_decay is not None
    return TrainResult(
        checkpoint_dir=last,
        loss_before=manifest.loss_before,
        loss_after=manifest.loss_after,
        steps=manifest.step,
        seconds=time.monotonic() - started,
        resumed_from=resumed_from,
        best_checkpoint_dir=best_of([*checkpoints_in(run_dir / CHECKPOINTS), last]),
        ema_checkpoint_dir=averaged if with_average else None,
        best_ema_checkpoint_dir=best_of([*checkpoints_in(run_dir / AVERAGED_CHECKPOINTS), averaged]) if with_average else None,
        clips_left_out=left_out,
    )


@contextmanager
def _naming_what_to_lower(preset: Preset) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        needed, remedies = ". ".join(str(error).split(". ")[:2]), ", ".join(what_to_lower(preset))
        raise TrainingError(f"out of memory in training {preset.name} ({needed}). To save memory: {remedies}") from error
