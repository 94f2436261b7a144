"""How a training of two real processes ends: together where one is asked to stop, with a name where one differs or dies."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

from model.presets import Preset
from tests.forked import Fresh
from tests.model.training.two_ranks import free_ports, run_two

WORKER = """
import json, os, signal, sys, torch
from pathlib import Path
import model.training.heartbeat, model.training.train as training
from model.presets import Preset
torch.set_num_threads(1)
model.training.heartbeat._BEAT_S, model.training.heartbeat._MOST_SILENT = 0.3, 1000
task = json.loads(Path(sys.argv[1]).read_text())
rank, ports = int(os.environ["RANK"]), iter(task["ports"])
def go(out, stop=training.never):
    os.environ["MASTER_PORT"] = str(next(ports))
    where = Path(task["clips"]), Path(task["base"]), Path(task["out"]) / out
    try:
        result = training.train(Preset(**task["preset"]), *where, lambda r: None, dataset_version="v1", device="cpu", stop=stop)
        told = {"checkpoint": str(result.checkpoint_dir), "resumed_from": result.resumed_from}
    except Exception as error:
        told = {"error": f"{type(error).__name__}: {error}", "step": getattr(error, "step", None)}
    print(json.dumps(told | {"process": os.getpid()}), flush=True)
def at(last, then):
    asked = iter(range(1000))
    return lambda: rank == 1 and next(asked) == last and then()
go("whole")
for forwards in task["stops"]:
    go("stopped", at(forwards, lambda: True))
go("stopped")
assemble = training.assemble
def another(*what):
    fused = assemble(*what)
    if rank == 1:
        fused.base.transformer.proj_out.bias.data[0] += 1e-3
    return fused
training.assemble = another
go("differs")
training.assemble = assemble
go("dies", at(2, lambda: os.kill(os.getpid(), signal.SIGKILL)))
"""


def test_two_processes_stop_together_at_any_forward_and_name_who_differs_or_dies(
    fresh_processes: Fresh, quick: Callable[..., Preset], clip_list: Path, base_dir: Path, tmp_path: Path
) -> None:
    """The first computes 2 clips of 5, the second 3, two a forward: it is the second that is asked, and the first agrees."""
    preset = quick(steps=2, batch_size=5, forward_clips=2, checkpoint_every=100, trainable="adapter_and_lora", fixed_triples=1)
    stops = [1, 2, 1]  # in the first update, before the second, in the second
    places = {"clips": str(clip_list), "base": str(base_dir), "out": str(tmp_path)}
    task = tmp_path / "task.json"
    ports = free_ports(len(stops) + 4)
    task.write_text(json.dumps({"preset": preset.model_dump(), "ports": ports, "stops": stops} | places))
    leader, follower = run_two(fresh_processes, WORKER, task)
    assert leader.returncode == 0, leader.stderr[-3000:]
    told, others = (
        [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")] for ended in (leader, follower)
    )
    whole, *stopped, finished, differs, dies = told
    assert [end["step"] for end in stopped] == [end["step"] for end in others[1:4]] == [0, 1, 1]
    assert finished["resumed_from"] == 1
    assert Path(finished["checkpoint"], "lafid.json").read_text() == Path(whole["checkpoint"], "lafid.json").read_text()

    assert differs["error"] == others[-1]["error"]
    assert differs["error"].startswith("RanksDiffer: rank 1 holds another weights/proj_out.bias than rank 0: let all")
    assert follower.returncode == -signal.SIGKILL
    assert "RankLost: rank 1 (" in dies["error"]
    assert f"process {others[0]['process']}) has given no sign of life" in dies["error"]
