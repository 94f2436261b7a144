"""Several processes: shares of a batch, sums of gradients, and two real ones that train what one trains."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn

from model.bases.specs import TINY, TINY_TWO_EXPERTS, BaseSpec
from model.clips.clip_set import ClipSet
from model.presets import Preset
from model.training.batch_sampler import Order
from model.training.heartbeat import RankLost
from model.training.parallel import Ranks, TooFewGpus, join_ranks
from model.training.sampling import draw_step
from model.training.train import TrainingError, train
from tests.forked import Fresh
from tests.model.layouts import TINY_VACE
from tests.model.training.two_processes import run_in_two, train_all, write_task

CPU = torch.device("cpu")


@pytest.mark.parametrize(("rows", "world"), [(5, 2), (4, 4), (32, 3)])
def test_shares_are_the_batch_and_nearly_even(rows: int, world: int) -> None:
    shares = [Ranks(rank, world, CPU).share(rows) for rank in range(world)]
    assert [row for share in shares for row in share] == list(range(rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_everything_is_as_it_is() -> None:
    ranks = Ranks(0, 1, CPU)
    parameter = nn.Parameter(torch.ones(2))
    ranks.sum_gradients([parameter])
    assert parameter.grad is None
    assert torch.equal(ranks.sum(torch.ones(2)), torch.ones(2))
    assert ranks.any(True)
    assert not ranks.any(False)
    ranks.wait()


def test_a_gradient_that_another_process_has_is_summed_and_one_that_none_has_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process has gradients of ones, of the second parameter and the third."""
    here, both, there, none = (nn.Parameter(torch.zeros(2)) for _ in range(4))
    here.grad, both.grad = torch.full((2,), 2.0), torch.full((2,), 3.0)
    theirs = iter([torch.tensor([0.0, 1.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.ones(2)])
    monkeypatch.setattr("model.training.parallel.dist.all_reduce", lambda tensor: tensor.add_(next(theirs)))
    monkeypatch.setattr("model.training.parallel._BUCKET", 4)
    Ranks(0, 2, CPU).sum_gradients([here, both, there, none])
    assert here.grad.tolist() == [2.0, 2.0]
    assert both.grad.tolist() == [4.0, 4.0]
    assert there.grad.tolist() == [1.0, 1.0]
    assert none.grad is None


def test_without_an_environment_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    with join_ranks("cpu") as ranks:
        assert ranks == Ranks(0, 1, CPU)
        assert ranks.leads


@pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ("cuda:1", "cpu:gloo,cuda:nccl")])
def test_processes_talk_over_what_their_device_needs_and_wait_for_videos(
    device: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[tuple[str, float]] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda _device: None)
    monkeypatch.setattr("model.training.parallel._meet", lambda _rank, _world: None)
    monkeypatch.setattr(dist, "init_process_group", lambda name, timeout, **_: joined.append((name, timeout.total_seconds())))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    monkeypatch.setattr("model.training.parallel.shared_store", lambda: None)
    monkeypatch.setattr("model.training.parallel.Heartbeat", lambda _store, _rank, _world: nullcontext())
    monkeypatch.setenv("WORLD_SIZE", "2")
    with join_ranks(device) as ranks:
        assert ranks == Ranks(0, 2, torch.device(device))
    [(name, patience_s)] = joined
    assert name == backend
    assert patience_s >= 3600


def test_more_processes_than_gpus_are_refused_by_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {"WORLD_SIZE": "8", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TooFewGpus, match=r"^4 processes are started on a machine with 2 GPUs: start 2 "), join_ranks(None):
        raise AssertionError("two of them have none")


def test_a_process_that_does_not_begin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    store = dist.HashStore()
    store.set("lafid/come/0", "")
    monkeypatch.setattr(dist, "rendezvous", lambda *_, **__: iter([(store, 1, 3)]))
    monkeypatch.setattr("model.training.parallel._MEETING", timedelta(seconds=0.05))
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(RankLost, match="^rank 2 did not begin within"), join_ranks("cpu"):
        raise AssertionError("one is missing")
    assert not dist.is_initialized()


def test_two_processes_train_and_draw_what_one_does(
    fresh_processes: Fresh,
    quick: Callable[..., Preset],
    clip_list: Path,
    base_dir: Path,
    clips_of: Callable[[BaseSpec], tuple[Path, Path]],
    tmp_path: Path,
) -> None:
    """An uneven batch in uneven parts; then with shared weights: of two transformers, with a process left over, and drawing; of a
    base with side blocks in bfloat16, each process's part in host memory."""

    def make(spec: BaseSpec = TINY, **train: object) -> Preset:
        usual = {"steps": 2, "batch_size": 4, "validate_every": 1, "trainable": "adapter_and_lora", "lr": 1e-3}
        chosen = quick(**usual | train)
        return Preset(**chosen.model_dump() | {"base": spec.model_dump()})

    places = {spec.name: clips_of(spec)[::-1] for spec in (TINY_TWO_EXPERTS, TINY_VACE)}
    shared = {"shard_base": True, "gradient_checkpointing": 0.5}
    rounded = {"precision": "bfloat16", "offload_base": True, "ema_decay": None, "validate_every": None}
    presets = {
        "plain": (make(batch_size=3, forward_clips=1), clip_list, base_dir, False),
        "two": (make(TINY_TWO_EXPERTS, batch_size=3, forward_clips=1, **shared), *places["tiny-two-experts"], True),
        "vace": (make(TINY_VACE, first_frame_dropout=1.0, **rounded, **shared), *places["tiny-vace"], False),
    }
    task = write_task(tmp_path, presets)
    whole = train_all(task)
    leader, follower = run_in_two(fresh_processes, task)
    for alone, led, silent in zip(whole, leader, follower, strict=True):
        preset = presets[alone["name"]][0]
        assert silent["heard"] == silent["drawn"] == []
        assert len(led["heard"]) == len(alone["heard"]) == preset.train.steps
        close = 20 if preset.train.precision == "bfloat16" else 1
        for (loss, grad_norm, figures), (loss_alone, grad_norm_alone, figures_alone) in zip(
            led["heard"], alone["heard"], strict=True
        ):
            assert loss == pytest.approx(loss_alone, rel=close * 1e-4)
            assert grad_norm == pytest.approx(grad_norm_alone, rel=close * 1e-3)
            assert figures == figures_alone
        for part in ("adapter/diffusion_pytorch_model.safetensors", "lora/pytorch_lora_weights.safetensors"):
            one, two = (load_file(Path(ended["checkpoint"]) / part) for ended in (alone, led))
            assert one.keys() == two.keys()
            for key, value in one.items():
                assert torch.allclose(value, two[key], atol=close * 2e-4), key
        # Judged after a step, where the first drawing is stopped and the average draws none, and at the end both.
        assert len(led["drawn"]) == len(alone["drawn"]) == (3 if presets[alone["name"]][3] else 0)
        for frames, frames_alone in zip(led["drawn"], alone["drawn"], strict=True):
            assert np.abs(np.array(frames) - np.array(frames_alone)).max() <= 2


def test_batches_that_processes_cannot_share_are_refused(
    quick: Callable[..., Preset], clip_list: Path, base_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.training.train.join_ranks", lambda _device: nullcontext(Ranks(0, 4, CPU)))
    with pytest.raises(TrainingError, match="share a batch of 3"):
        train(quick(batch_size=3), clip_list, base_dir, tmp_path, lambda _: None, dataset_version="v1")


def test_an_uneven_batch_is_dealt_in_as_many_forwards_to_each(quick: Callable[..., Preset], clips: ClipSet) -> None:
    """Of 3 clips a process's share is 1 or 2: dealt by its own, one process would have a forward that the other does not join."""
    preset = quick(batch_size=3, trainable="adapter_and_lora", shard_base=True)
    order = Order(tuple(clips.buckets.values()), 3, 0)
    first, second = (draw_step(clips, order, preset, 0, Ranks(rank, 2, CPU)).forwards for rank in range(2))
    assert len(first) == len(second)
    assert sorted(row for part in (*first, *second) if part.counts for row in part.rows.tolist()) == [0, 1, 2]


@pytest.mark.parametrize(("kinds", "world", "size"), [([0, 1, 0, 0, 1], 2, 1), ([0, 0, 0], 2, None), ([1, 0, 1, 1], 4, 2)])
def test_dealt_rows_are_the_batch_and_of_one_kind_at_a_time(kinds: list[int], world: int, size: int | None) -> None:
    dealt = [Ranks(rank, world, CPU).deal(kinds, size or -(-len(kinds) // world)) for rank in range(world)]
    assert sorted(row for turns in dealt for turn in turns if turn.counts for row in turn.rows) == list(range(len(kinds)))
    for at_once in zip(*dealt, strict=True):
        assert len({kinds[row] for turn in at_once for row in turn.rows}) == 1
        assert all(0 < len(turn.rows) <= (size or len(kinds)) for turn in at_once)
