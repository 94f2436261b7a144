"""What a GPU makes of the trainer, in eight minutes at most, as `benchmarks/RESULTS.md`: `python -m benchmarks.train_results`.

The rungs of `train_gpu` that its bars ask for, and as many more as there is time for; how long compiled blocks take to warm up
over all sizes of clips; peak memory against the estimate; how fast a clip's VAE and text are encoded; how long a state
stops it. What there was no time for is named. --smoke does all of it in small on a CPU: that it runs, no figures.
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks import train_cpu
from benchmarks.train_gpu import (
    AHEAD,
    BARS,
    FACE,
    LORA_RANK,
    OFFLOADED,
    PLAIN,
    RUNGS,
    SMALL,
    WAN_ENCODERS,
    compare,
    measure,
    on_cpu,
    wait,
)
from benchmarks.train_rungs import OnlineEncoders, bare, encode_online, open_rung
from model.clip_size import ClipSize
from model.presets import Preset, TrainConfig, preset
from model.training.preset_table import preset_size
from model.training.state import TrainState
from model.training.state_writer import StateWriter
from model.training.train import nowhere

RESULTS = Path(__file__).with_name("RESULTS.md")
LIMIT_S = 480
_OF_RUNGS = 0.7
"""Of the time, what the ladder may take; warming up has the rest."""
_PRESET = "wan2.1-t2v-1.3b"
_FIRST = (FACE, AHEAD, PLAIN, OFFLOADED)
"""What the bars ask for, then what no CPU can say."""
_SPENT_BY_RUNG_S = 75
"""At a guess, until one was measured: loading, compiling, a few steps."""
_PACKAGES = ("torch", "diffusers", "peft", "transformers")


class Clock:
    """The time that is left."""

    def __init__(self, limit_s: float) -> None:
        self._ends = time.monotonic() + limit_s

    def allows(self, seconds: float) -> bool:
        """Whether so much is left."""
        return time.monotonic() + seconds < self._ends


def rungs(
    chosen: Preset, encoders: OnlineEncoders, device: torch.device, clock: Clock, steps: int
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Rows by rung, and the names of those that there was no time for; a rung takes as long as the longest so far."""
    rows: dict[str, dict[str, Any]] = {}
    left_out, longest_s = [], float(_SPENT_BY_RUNG_S)
    for rung in (*_FIRST, *(rung for rung in RUNGS if rung not in _FIRST)):
        if not clock.allows(longest_s):
            left_out.append(rung.name)
            continue
        began = time.monotonic()
        try:
            rows[rung.name] = measure(
                chosen, on_cpu(rung) if device.type == "cpu" else rung, encoders, device, warmup=1, steps=steps
            )
        except torch.OutOfMemoryError:
            left_out.append(f"{rung.name} (out of memory)")
        finally:
            _forget()
        longest_s = max(time.monotonic() - began, longest_s if rows else 0.0)
    return rows, left_out


def warm_up(chosen: Preset, encoders: OnlineEncoders, device: torch.device, clock: Clock) -> list[list[str]]:
    """Seconds of the first step and of the third on clips of each size, with blocks that stay compiled from size to size."""
    rows = []
    for bucket in chosen.clip.buckets:
        if not clock.allows(_SPENT_BY_RUNG_S / 2):
            break
        clip = ClipSize(**chosen.clip.model_dump() | bucket._asdict() | {"shorter_frames": (), "shapes": ()})
        sized, rung = chosen.model_copy(update={"clip": clip}), on_cpu(FACE) if device.type == "cpu" else FACE
        with tempfile.TemporaryDirectory() as folder, open_rung(sized, rung, encoders, Path(folder), device) as step:
            seconds = [_seconds(step, device) for _ in range(3)]
        rows.append([f"{bucket.frames} x {bucket.height} x {bucket.width}", f"{seconds[0]:.1f}", f"{seconds[2]:.2f}"])
    _forget()
    return rows


def clips_per_second(chosen: Preset, encoders: OnlineEncoders, device: torch.device) -> float:
    """VAE and text of clips of the main size, one after the other, as `training_latents` encodes them; nothing is decoded."""
    encode = encode_online(chosen, encoders, 1, device, chosen.train.precision)
    _seconds(encode, device)
    rounds = 3
    return rounds / sum(_seconds(encode, device) for _ in range(rounds))


def state_seconds(trained: int, config: TrainConfig, device: torch.device) -> dict[str, float]:
    """For how long a state of a run that trains so many numbers stops it, and is written to this machine's temporary folder;
    of the second, for the first page-locks the memory of all."""
    parameter = torch.nn.Parameter(torch.zeros(trained, device=device))
    optimizer = torch.optim.AdamW([parameter], fused=device.type == "cuda")
    parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    state = TrainState({"all": parameter}, optimizer, None)
    figures = {}
    with tempfile.TemporaryDirectory() as folder, StateWriter(Path(folder), state, config, 0.0, None, nowhere) as writer:
        for step in (1, 2):
            writer.save(step)
            writer.finish()
            figures = writer.figures()
    return figures


def page(
    chosen: Preset,
    device: torch.device,
    rows: dict[str, dict[str, Any]],
    left_out: Sequence[str],
    warmed: Sequence[Sequence[str]],
    clips_a_second: float,
    state: dict[str, float],
) -> str:
    """All of it in Markdown."""
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else f"a CPU ({platform.machine()})"
    versions = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    clip = chosen.clip
    lines = [
        "# What a GPU makes of the trainer",
        "",
        f"{card}; {versions}; {datetime.now(UTC):%Y-%m-%d}. Preset `{chosen.name}`, {clip.frames} frames of {clip.height} x "
        f"{clip.width} px, LoRA of rank {chosen.train.lora_rank}. Written by `python -m benchmarks.train_results`.",
        "",
        *_table(
            ("rung", "s a step", "tokens/s", "MFU", "HFU", "peak GiB", "estimated GiB"),
            [
                (
                    name,
                    f"{row['step_s']:.3f}",
                    f"{row['tokens_per_s']:.0f}",
                    *("-" if row[share] is None else f"{row[share]:.1%}" for share in ("mfu", "hfu")),
                    "-" if row["peak_gib"] is None else f"{row['peak_gib']:.1f}",
                    f"{row['estimate_gib']:.1f}",
                )
                for name, row in rows.items()
            ],
        ),
        "",
        *_table(
            ("figure", "is", "shall be"), [(name, f"{value:.4g}", BARS.get(name, "")) for name, value in compare(rows).items()]
        ),
        "",
        *_table(("clips of", "s, first step", "s, third step"), warmed),
        "",
        f"VAE and text of {clips_a_second:.3f} clips a second. A state stops training for {state['state_stall_seconds']:.2f} s "
        f"and is written in {state['state_write_seconds']:.2f} s.",
        "",
        f"No time for: {', '.join(left_out) or 'nothing was left out'}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="in small, on the CPU: that it runs, no figures")
    arguments = parser.parse_args()
    rung_clock, clock, device = Clock(_OF_RUNGS * LIMIT_S), Clock(LIMIT_S), torch.device("cpu")
    if arguments.smoke:
        chosen, encoders, steps = SMALL, train_cpu.ENCODERS, 1
    elif torch.cuda.is_available():
        chosen, device, steps = bare(preset(_PRESET), LORA_RANK), torch.device("cuda:0"), 5
        encoders = WAN_ENCODERS[chosen.base.latent_channels]
    else:
        parser.error("there is no GPU: run it where one is, or with --smoke")
    clips_a_second = clips_per_second(chosen, encoders, device)
    state = state_seconds(preset_size(chosen).trained_parameters, chosen.train, device)
    _forget()
    rows, left_out = rungs(chosen, encoders, device, rung_clock, steps)
    text = page(chosen, device, rows, left_out, warm_up(chosen, encoders, device, clock), clips_a_second, state)
    if not arguments.smoke:
        RESULTS.write_text(text)
    print(text)
    return 0


def _seconds(what: Callable[[], Any], device: torch.device) -> float:
    wait(device)
    began_s = time.perf_counter()
    what()
    wait(device)
    return time.perf_counter() - began_s


def _forget() -> None:
    torch._dynamo.reset()
    torch.cuda.empty_cache()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


if __name__ == "__main__":
    raise SystemExit(main())
