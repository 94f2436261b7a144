"""The training ladder on one GPU, a lever a rung: `python -m benchmarks.train_gpu [--preset NAME] [--json]`; --smoke on a CPU.

Rung 0 is the loop that a reader would write from the diffusers documentation: VAE and text encoder online, nothing compiled.
The last is this project's trainer with the face branch on. Real architectures with random weights: nothing is downloaded. A step
is timed with the device synchronised; median and 95th percentile after warm-up. HFU and MFU by `model.throughput`, which leaves
the encoders' and the face branch's operations out, so that what they cost shows.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import train_cpu
from benchmarks.train_rungs import OnlineEncoders, Rung, bare, open_rung
from model.execution import reproducible
from model.preset_table import preset_row
from model.presets import Preset, preset
from model.throughput import peak_flop_per_s, step_flop

WAN_ENCODERS = OnlineEncoders(
    vae={"base_dim": 96, "z_dim": 16},
    text={"vocab_size": 256384, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64},
)
FLASH = "_native_flash"
RUNGS = (
    Rung("0 plain loop, encoders online", online=True),
    Rung("1 cached"),
    Rung("2 and flash attention", attention=FLASH),
    Rung("3 and compiled blocks", attention=FLASH, compiled=True),
    Rung("4 and fused AdamW", attention=FLASH, compiled=True, fused=True),
    Rung("5 and no checkpointing", attention=FLASH, compiled=True, fused=True, checkpointing=False),
    Rung("6 = 4 and the face branch", attention=FLASH, compiled=True, fused=True, face=True),
    Rung("7 = 5 and the face branch", attention=FLASH, compiled=True, fused=True, checkpointing=False, face=True),
    Rung("8 = 5 with two clips", attention=FLASH, compiled=True, fused=True, checkpointing=False, batch=2),
    Rung("9 = 6, deterministic", attention=FLASH, compiled=True, fused=True, face=True, deterministic=True),
)


def measure(
    chosen: Preset, rung: Rung, encoders: OnlineEncoders, device: torch.device, warmup: int, steps: int
) -> dict[str, Any]:
    """One rung's row."""
    seconds = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder, reproducible(rung.deterministic):
        step = open_rung(chosen, rung, encoders, Path(folder), device)
        for number in range(warmup + steps):
            _wait(device)
            began_s = time.perf_counter()
            loss = step()
            _wait(device)
            if number >= warmup:
                seconds.append(time.perf_counter() - began_s)
    median_s = statistics.median(seconds)
    tokens = preset_row(chosen).video_tokens
    config = chosen.train.model_copy(update={"gradient_checkpointing": rung.checkpointing})
    flop = step_flop(chosen.base.transformer, tokens, config)
    peak = peak_flop_per_s(device)
    return {
        "step_s": median_s,
        "step_p95_s": sorted(seconds)[int(0.95 * (len(seconds) - 1))],
        "tokens_per_s": rung.batch * tokens / median_s,
        "mfu": None if peak is None else rung.batch * flop.model / median_s / peak,
        "hfu": None if peak is None else rung.batch * flop.hardware / median_s / peak,
        "limit_s": None if peak is None else rung.batch * flop.hardware / peak,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None,
        "loss": loss,
    }


def show(name: str, row: dict[str, Any]) -> None:
    """One line of the table."""
    cells = [f"{row['step_s']:8.3f} s", f"p95 {row['step_p95_s']:8.3f} s", f"{row['tokens_per_s']:9.0f} tokens/s"]
    for key in ("mfu", "hfu"):
        cells.append(f"{key.upper()} {'-' if row[key] is None else format(row[key], '.1%'):>6}")
    cells.append(f"limit {'-' if row['limit_s'] is None else format(row['limit_s'], '.3f')} s")
    cells.append(f"peak {'-' if row['peak_gib'] is None else format(row['peak_gib'], '.1f')} GiB  loss {row['loss']:.4f}")
    print(f"{name:32}" + "  ".join(cells), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="wan2.1-t2v-1.3b", help="a text-to-video one")
    parser.add_argument("--rungs", default="", help="their first characters; all unless given")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="every rung in small, on the CPU, without compiling")
    parser.add_argument("--json", action="store_true", help="end with one object")
    arguments = parser.parse_args()
    chosen, encoders, device = bare(preset(arguments.preset)), WAN_ENCODERS, torch.device("cpu")
    if arguments.smoke:
        chosen, encoders, arguments.steps, arguments.warmup = train_cpu.PRESET, train_cpu.ENCODERS, 1, 1
    elif torch.cuda.is_available():
        device = torch.device("cuda")
        print(torch.cuda.get_device_name(device), torch.__version__)
    else:
        parser.error("there is no GPU: run it where one is, or with --smoke")
    table = {}
    for rung in RUNGS:
        if arguments.rungs and rung.name[0] not in arguments.rungs:
            continue
        if arguments.smoke:
            rung = replace(rung, attention="native", compiled=False, fused=False)
        try:
            table[rung.name] = measure(chosen, rung, encoders, device, arguments.warmup, arguments.steps)
        except torch.OutOfMemoryError:
            print(f"{rung.name:32}out of memory", flush=True)
            continue
        finally:
            torch._dynamo.reset()
            torch.cuda.empty_cache()
        show(rung.name, table[rung.name])
    if arguments.json:
        print(json.dumps(table))
    return 0


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    raise SystemExit(main())
