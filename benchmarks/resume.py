"""One SHA-256 over all losses and the final weights of a run, undisturbed and killed: `python -m benchmarks.resume [--kills N]`.

Both runs are real processes of the trainer, on the tiny preset with every part on. One is sent SIGKILL after random steps, at a
random moment of the step that follows, and started again. The same digest twice says that no loss, no weight and no averaged
weight differs in a bit; a step that is computed again after a kill has to give its first loss again, too. With `--loose` kernels
may sum in any order, as a GPU's do unless `deterministic` is set: then it prints how far the losses lie apart.
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

from model.clip_size import ClipSize
from model.presets import Preset, preset

STEPS = 12
SIZE = ClipSize(frames=3, height=16, width=16, view_side=16)
MOST_DELAY_S = 0.1
"""About a step and the saving of its state."""

# Forked from a process that has loaded the trainer and computed nothing: a run starts at once.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["model.training.train"])


@dataclass(frozen=True)
class Run:
    """What `train` is called with."""

    preset: Preset
    clip_list: Path
    base_dir: Path
    out_dir: Path
    device: str = "cpu"
    loose: bool = False


@dataclass(frozen=True)
class Trace:
    """What a run told.

    Attributes:
        losses: of every step flow loss, gradient norm and contrastive loss, as hexadecimal floats.
        weights: digest of the finished checkpoints.
    """

    losses: dict[int, str]
    weights: str

    @property
    def digest(self) -> str:
        """Over every bit of it."""
        return hashlib.sha256(json.dumps([sorted(self.losses.items()), self.weights]).encode()).hexdigest()

    def drift_from(self, other: "Trace") -> float:
        """The largest relative difference of a figure of the same step."""
        pairs = [
            (float.fromhex(mine), float.fromhex(theirs))
            for step, figures in self.losses.items()
            for mine, theirs in zip(figures.split(), other.losses[step].split(), strict=True)
        ]
        return max(abs(mine - theirs) / max(abs(mine), abs(theirs), 1e-12) for mine, theirs in pairs)


def trace(run: Run, kills: tuple[tuple[int, float], ...] = ()) -> Trace:
    """The trace of a run that is killed after each of these steps, so many seconds after it reported it, and then left to finish.

    Raises:
        AssertionError: a step that was computed again gave another loss, and the run is not a loose one.
    """
    losses: dict[int, str] = {}
    for step, delay_s in kills:
        _follow(run, losses, step, delay_s)
    weights = _follow(run, losses)
    assert sorted(losses) == list(range(1, run.preset.train.steps + 1))
    return Trace(losses, weights)


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
                again = losses.setdefault(message["step"], message["losses"])
                assert run.loose or again == message["losses"], f"step {message['step']} anew"
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
    from model.training.train import TrainReport, train

    torch.set_num_threads(1)

    def report(progress: TrainReport) -> None:
        exact = [progress.loss, progress.grad_norm, progress.metrics["loss_contrastive"]]
        tell.send_bytes(json.dumps({"step": progress.step, "losses": " ".join(map(float.hex, exact))}).encode())

    result = train(run.preset, run.clip_list, run.base_dir, run.out_dir, report, dataset_version="benchmark", device=run.device)
    folders = [folder for folder in (result.checkpoint_dir, result.ema_checkpoint_dir) if folder is not None]
    tell.send_bytes(json.dumps({"weights": " ".join(map(sha256_folder, folders))}).encode())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, help="of the steps and moments of the kills; another one every time unless given")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--loose", action="store_true", help="without deterministic kernels: how far the losses lie apart")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    kills = random_kills(arguments.kills, STEPS, seed)
    moments = ", ".join(f"{1000 * delay_s:.0f} ms after step {step}" for step, delay_s in kills)
    tiny = preset("tiny")
    train = {"steps": STEPS, "checkpoint_every": 2, "log_every": 1, "deterministic": not arguments.loose}
    chosen = tiny.model_copy(update={"clip": SIZE, "train": tiny.train.model_copy(update=train)})
    # Loads torch, which the processes that begin here do not.
    from tests.model.cached_clips import noise_clips

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip_list = noise_clips(folder, SIZE, 5)
        undisturbed, killed = (
            trace(Run(chosen, clip_list, folder / "tiny", folder / kind, arguments.device, arguments.loose), ends)
            for kind, ends in (("undisturbed", ()), ("killed", kills))
        )
    same = undisturbed.digest == killed.digest
    print(f"undisturbed      {undisturbed.digest}")
    print(f"killed, resumed  {killed.digest}  (seed {seed}: SIGKILL {moments})")
    print("equal" if same else f"DIFFERENT: losses and norms by up to {killed.drift_from(undisturbed):.1e} of their size")
    return int(not same and not arguments.loose)


if __name__ == "__main__":
    raise SystemExit(main())
