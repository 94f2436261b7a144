"""One SHA-256 over all losses and the final weights of a run, undisturbed and killed: `python -m benchmarks.resume [--kills N]`.

Both runs are real processes of the trainer, on the tiny preset with every part on. One is sent SIGKILL after random steps, at a
random moment of the step that follows, and started again. The same digest twice says that no loss, no weight and no averaged
weight differs in a bit; a step that is computed again after a kill has to give its first loss again, too.
"""

import argparse
import hashlib
import json
import multiprocessing
import random
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from model.presets import Preset, preset

STEPS = 12
MOST_DELAY_S = 0.1
"""About a step and the saving of its state."""

# Forked from a process that has loaded the trainer and computed nothing: a run starts at once.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["model.train"])


@dataclass(frozen=True)
class Run:
    """What `train` is called with."""

    preset: Preset
    latent_files: tuple[Path, ...]
    base_dir: Path
    out_dir: Path
    device: str = "cpu"


def digest(run: Run, kills: tuple[tuple[int, float], ...] = ()) -> str:
    """Of a run that is killed after each of these steps, so many seconds after it reported it, and then left to finish.

    Raises:
        AssertionError: a step that was computed again gave another loss.
    """
    losses: dict[int, str] = {}
    for step, delay_s in kills:
        _follow(run, losses, step, delay_s)
    weights = _follow(run, losses)
    assert sorted(losses) == list(range(1, run.preset.train.steps + 1))
    return hashlib.sha256(json.dumps([sorted(losses.items()), weights]).encode()).hexdigest()


def random_kills(count: int, steps: int, seed: int) -> tuple[tuple[int, float], ...]:
    """Steps in ascending order, and delays in seconds."""
    dice = random.Random(seed)
    return tuple((step, dice.uniform(0, MOST_DELAY_S)) for step in sorted(dice.sample(range(1, steps), count)))


def _follow(run: Run, losses: dict[int, str], kill_after: int | None = None, delay_s: float = 0.0) -> str:
    """Starts the run and notes what it reports; gives the digest of its weights, empty where it did not live to have one."""
    heard, tell = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_train, args=(run, tell))
    process.start()
    tell.close()
    weights = ""
    try:
        while True:
            message = json.loads(heard.recv_bytes())
            weights = message.get("weights", weights)
            if "step" in message:
                assert losses.setdefault(message["step"], message["losses"]) == message["losses"], f"step {message['step']} anew"
                if message["step"] == kill_after:
                    time.sleep(delay_s)
                    process.kill()
    except (EOFError, OSError):  # the other end is gone, perhaps in the middle of a message
        process.join()
    assert process.exitcode == 0 or kill_after is not None, f"the run ended with exit code {process.exitcode}"
    return str(weights)


def _train(run: Run, tell: Connection) -> None:
    import torch

    from model.files import sha256_folder
    from model.train import TrainReport, train

    torch.set_num_threads(1)

    def report(progress: TrainReport) -> None:
        exact = [progress.loss, progress.grad_norm, progress.metrics["loss_contrastive"]]
        tell.send_bytes(json.dumps({"step": progress.step, "losses": " ".join(map(float.hex, exact))}).encode())

    result = train(
        run.preset, run.latent_files, run.base_dir, run.out_dir, report, dataset_version="benchmark", device=run.device
    )
    folders = [folder for folder in (result.checkpoint_dir, result.ema_checkpoint_dir) if folder is not None]
    tell.send_bytes(json.dumps({"weights": " ".join(map(sha256_folder, folders))}).encode())
