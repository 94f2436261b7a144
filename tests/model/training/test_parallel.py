"""Several processes: shares of a batch, sums of gradients, and two real ones that train what one trains."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn

from model.bases.base import load_base
from model.bases.build import build_tiny_base, build_transformer
from model.clips.clip_parts import write_clips
from model.presets import Preset
from model.training.parallel import Ranks, join_ranks
from model.training.train import TrainingError, TrainReport, train
from tests.model.conftest import encode_clips
from tests.model.layouts import TINY_VACE
from tests.model.training.two_ranks import free_ports, run_two

CPU = torch.device("cpu")
WORKER = """
import json, os, sys, torch
from pathlib import Path
from model.presets import Preset
from model.training.train import train
torch.set_num_threads(1)
task = json.loads(Path(sys.argv[1]).read_text())
for (name, preset), port, (clips, base) in zip(task["presets"].items(), task["ports"], task["places"].values()):
    os.environ["MASTER_PORT"] = str(port)
    heard = []
    result = train(Preset(**preset), Path(clips), Path(base), Path(task["out"]) / name,
                   lambda r: heard.append((r.loss, r.grad_norm, sorted(r.metrics))), dataset_version="v1", device="cpu")
    print(json.dumps({"name": name, "heard": heard, "checkpoint": str(result.checkpoint_dir)}), flush=True)
"""


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


def test_a_gradient_that_another_process_has_is_summed_and_one_that_none_has_stays_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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


def test_blocks_are_sharded_vaces_side_blocks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    sharded: list[nn.Module] = []
    monkeypatch.setattr("model.training.parallel.fully_shard", lambda module, **_: sharded.append(module))
    transformer = build_transformer(TINY_VACE)
    Ranks(0, 2, CPU).shard(transformer)
    assert sharded == [*transformer.blocks, *transformer.vace_blocks, transformer]


@pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ("cuda:1", "cpu:gloo,cuda:nccl")])
def test_processes_talk_over_what_their_device_needs_and_wait_for_videos(
    device: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[tuple[str, float]] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda _device: None)
    monkeypatch.setattr(dist, "init_process_group", lambda name, timeout: joined.append((name, timeout.total_seconds())))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    monkeypatch.setattr("model.training.parallel.shared_store", lambda: None)
    monkeypatch.setattr("model.training.parallel.Heartbeat", lambda _store, _rank, _world: nullcontext())
    monkeypatch.setenv("WORLD_SIZE", "2")
    with join_ranks(device) as ranks:
        assert ranks == Ranks(0, 2, torch.device(device))
    [(name, patience_s)] = joined
    assert name == backend
    assert patience_s >= 3600


def test_two_processes_train_what_one_trains(
    quick: Callable[..., Preset], clip_list: Path, base_dir: Path, tmp_path: Path
) -> None:
    """Over gloo: an uneven batch in uneven parts, then with the frozen base sharded between them, then one with side blocks."""
    judged = {"validate_every": 1, "trainable": "adapter_and_lora", "lr": 1e-3}
    plain = quick(steps=3, batch_size=5, forward_clips=2, **judged)
    sharded = quick(steps=2, batch_size=4, shard_base=True, **judged)
    vace = sharded.model_copy(update={"train": sharded.train.model_copy(update={"first_frame_dropout": 1.0}), "base": TINY_VACE})
    presets = {"plain": plain, "sharded": sharded, "sharded_vace": vace}
    build_tiny_base(tmp_path / "vace", spec=TINY_VACE)
    vace_clips = write_clips(tmp_path / "vace_clips", encode_clips(load_base(tmp_path / "vace", "cpu")))
    places = dict.fromkeys(presets, (clip_list, base_dir)) | {"sharded_vace": (vace_clips, tmp_path / "vace")}
    alone: dict[str, list[TrainReport]] = {name: [] for name in presets}
    whole = {
        name: train(preset, *places[name], tmp_path, alone[name].append, dataset_version="v1", device="cpu")
        for name, preset in presets.items()
    }
    task = tmp_path / "task.json"
    described = {name: preset.model_dump() for name, preset in presets.items()}
    where = {"places": {name: [str(path) for path in paths] for name, paths in places.items()}, "out": str(tmp_path / "two")}
    task.write_text(json.dumps({"presets": described, "ports": free_ports(len(presets)), **where}))
    printed = []
    for code, out, trace in run_two(WORKER, task):
        assert code == 0, trace[-3000:]
        printed.append([json.loads(line) for line in out.splitlines() if line.startswith("{")])
    leader, follower = printed
    assert [line["name"] for line in leader] == list(presets)
    for line, silent in zip(leader, follower, strict=True):
        name = line["name"]
        assert silent["heard"] == []
        assert len(line["heard"]) == len(alone[name]) == presets[name].train.steps
        for (loss, grad_norm, figures), report in zip(line["heard"], alone[name], strict=True):
            assert loss == pytest.approx(report.loss, rel=1e-4)
            assert grad_norm == pytest.approx(report.grad_norm, rel=1e-3)
            assert figures == sorted(report.metrics)
        for part in ("adapter/diffusion_pytorch_model.safetensors", "lora/pytorch_lora_weights.safetensors"):
            one, two = load_file(whole[name].checkpoint_dir / part), load_file(Path(line["checkpoint"]) / part)
            assert one.keys() == two.keys()
            for key, value in one.items():
                assert torch.allclose(value, two[key], atol=2e-4), key


@pytest.mark.parametrize(
    ("shard_base", "message"), [(True, "equal shares, not 1 and a batch of 3"), (False, "share a batch of 3")]
)
def test_batches_that_processes_cannot_share_are_refused(
    quick: Callable[..., Preset],
    clip_list: Path,
    base_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shard_base: bool,
    message: str,
) -> None:
    world = 2 if shard_base else 4
    monkeypatch.setattr("model.training.train.join_ranks", lambda _device: nullcontext(Ranks(0, world, CPU)))
    config = quick(batch_size=3, shard_base=shard_base)
    with pytest.raises(TrainingError, match=message):
        train(config, clip_list, base_dir, tmp_path, lambda _: None, dataset_version="v1")
