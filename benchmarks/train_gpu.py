"""The training ladder on one GPU: `python -m benchmarks.train_gpu [--preset NAME] [--rungs 0567] [--json]`; --smoke on a CPU.

Rung 0 is the loop that a reader would write from the diffusers documentation: VAE and text encoder online, nothing compiled.
Rungs 1 to 5 each add a lever to the one before, rungs b to e have one lever alone; 6 and 7 are this project's trainer with
the face branch on, narrow and full, and the others vary rung 6. Real architectures with random weights: nothing is
downloaded. A step is timed with the device synchronised; median and 95th percentile after warm-up. HFU and MFU by
`model.training.throughput`, which leaves the encoders' and the face branch's operations out, so that what they cost shows;
`limit` is a step at all that the card can do; `peak` is of the memory that PyTorch gave out, beside what was estimated.
"""

import argparse
import json
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import train_cpu
from benchmarks.train_rungs import OnlineEncoders, Rung, as_rung, bare, open_rung
from model.clip_size import ClipSize
from model.presets import Preset, preset
from model.training.execution import reproducible
from model.training.memory_estimate import estimate_memory
from model.training.parallel import join_ranks
from model.training.preset_table import preset_size
from model.training.throughput import peak_flop_per_s, step_flop

_TEXT = {"vocab_size": 256384, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
_VAE_22 = {"in_channels": 12, "out_channels": 12, "patch_size": 2, "is_residual": True, "decoder_base_dim": 256}
WAN_ENCODERS = {
    16: OnlineEncoders(vae={"base_dim": 96, "z_dim": 16}, text=_TEXT),
    48: OnlineEncoders(vae={"base_dim": 160, "z_dim": 48, **_VAE_22}, text=_TEXT),
}
"""By latent channels: Wan2.1's, and those of Wan2.2's 5B."""
LORA_RANK = 128
BARS = {"ratio_plain": "at least 2", "hfu_face_branch": "at least 0.45", "share_face_branch": "at most 0.03"}
"""What is wanted of an H200 with the default preset."""
FLASH = "_native_flash"

PLAIN = Rung("0 plain loop, encoders online", online=True, ahead=False)
CACHED = replace(PLAIN, name="1 and cached", online=False)
FLASHED = replace(CACHED, name="2 and flash attention", attention=FLASH)
COMPILED = replace(FLASHED, name="3 and compiled blocks", compiled=True)
FUSED = replace(COMPILED, name="4 and fused AdamW", fused=True)
AHEAD = replace(FUSED, name="5 and one batch ahead", ahead=True)
FACE = replace(AHEAD, name="6 and the face branch, narrow", face="narrow")
DETERMINISTIC = replace(FACE, name="r = 6, deterministic", deterministic=True)
OFFLOADED = replace(FACE, name="o = 6, weights in host memory", offload=True)
RUNGS = (
    PLAIN,
    CACHED,
    FLASHED,
    COMPILED,
    FUSED,
    AHEAD,
    FACE,
    replace(FACE, name="7 = 5 and the face branch, full", face="full"),
    replace(FACE, name="8 = 6, two clips", batch=2),
    replace(FACE, name="9 = 6, no checkpointing", checkpointing=0.0),
    replace(FACE, name="h = 6, half the blocks checkpointed", checkpointing=0.5),
    OFFLOADED,
    DETERMINISTIC,
    replace(PLAIN, name="b = 0 and flash alone", attention=FLASH),
    replace(PLAIN, name="c = 0 and compiled alone", compiled=True),
    replace(PLAIN, name="d = 0 and fused AdamW alone", fused=True),
    replace(PLAIN, name="e = 0, no checkpointing alone", checkpointing=0.0),
)

SMALL = train_cpu.PRESET.model_copy(update={"clip": ClipSize(frames=5, height=64, width=64)})


def measure(
    chosen: Preset, rung: Rung, encoders: OnlineEncoders, device: torch.device, warmup: int, steps: int
) -> dict[str, Any]:
    """One rung's row."""
    seconds = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(join_ranks(device))
        stack.enter_context(reproducible(rung.deterministic))
        step = stack.enter_context(open_rung(chosen, rung, encoders, folder, device))
        for number in range(warmup + steps):
            wait(device)
            began_s = time.perf_counter()
            loss = step()
            wait(device)
            if number >= warmup:
                seconds.append(time.perf_counter() - began_s)
    median_s = statistics.median(seconds)
    size = preset_size(chosen)
    tokens = size.video_tokens
    measured = as_rung(chosen, rung)
    flop = step_flop(chosen.base.transformer, tokens, measured.train)
    peak = peak_flop_per_s(device)
    limit_s = None if peak is None else rung.batch * flop.hardware / peak
    return {
        "step_s": median_s,
        "step_p95_s": sorted(seconds)[int(0.95 * (len(seconds) - 1))],
        "tokens_per_s": rung.batch * tokens / median_s,
        "mfu": None if peak is None else rung.batch * flop.model / median_s / peak,
        "hfu": None if limit_s is None else limit_s / median_s,
        "limit_s": limit_s,
        "estimate_gib": estimate_memory(measured, size=size).total,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None,
        "loss": loss,
    }


def compare(table: dict[str, dict[str, Any]]) -> dict[str, float]:
    """What the rungs say together, as far as they were measured.

    Returns:
        `ratio_plain` (rung 0 over rung 6), `share_face_branch` (of rung 6's step), `hfu_face_branch`, `cost_deterministic`
        (what it adds to rung 6) and `loss_difference_deterministic` (of the last losses, relative: the tolerance without it).
    """
    found: dict[str, float] = {}
    plain, ahead, face, exact = (table.get(rung.name) for rung in (PLAIN, AHEAD, FACE, DETERMINISTIC))
    if face is None:
        return found
    if plain is not None:
        found["ratio_plain"] = plain["step_s"] / face["step_s"]
    if ahead is not None:
        found["share_face_branch"] = 1 - ahead["step_s"] / face["step_s"]
    if face["hfu"] is not None:
        found["hfu_face_branch"] = face["hfu"]
    if exact is not None:
        found["cost_deterministic"] = exact["step_s"] / face["step_s"] - 1
        found["loss_difference_deterministic"] = abs(exact["loss"] / face["loss"] - 1)
    return found


def show(name: str, row: dict[str, Any]) -> None:
    """One line of the table."""
    cells = [f"{row['step_s']:8.3f} s", f"p95 {row['step_p95_s']:8.3f} s", f"{row['tokens_per_s']:9.0f} tokens/s"]
    for key in ("mfu", "hfu"):
        cells.append(f"{key.upper()} {'-' if row[key] is None else format(row[key], '.1%'):>6}")
    cells.append(f"limit {'-' if row['limit_s'] is None else format(row['limit_s'], '.3f')} s")
    cells.append(f"peak {'-' if row['peak_gib'] is None else format(row['peak_gib'], '.1f')} of {row['estimate_gib']:.1f} GiB")
    cells.append(f"loss {row['loss']:.4f}")
    print(f"{name:32}" + "  ".join(cells), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="wan2.1-t2v-1.3b", help="one whose base draws from text (layout t2v or ti2v)")
    parser.add_argument("--rungs", default="", help="their first characters; all unless given")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument(
        "--smoke", action="store_true", help="every rung in small, on the CPU, without compiling: that they run, no figures"
    )
    parser.add_argument("--json", action="store_true", help="end with one object")
    arguments = parser.parse_args()
    chosen, device = bare(preset(arguments.preset), LORA_RANK), torch.device("cpu")
    if arguments.smoke:
        chosen, encoders, arguments.steps, arguments.warmup = SMALL, train_cpu.ENCODERS, 1, 1
    elif chosen.base.layout not in ("t2v", "ti2v"):
        parser.error(
            f"base {chosen.base.name} of layout {chosen.base.layout} takes more than noise and text: name another preset"
        )
    elif torch.cuda.is_available():
        device, encoders = torch.device("cuda:0"), WAN_ENCODERS[chosen.base.latent_channels]
        print(torch.cuda.get_device_name(device), torch.__version__)
    else:
        parser.error("there is no GPU: run it where one is, or with --smoke")
    table = {}
    for rung in RUNGS:
        if arguments.rungs and rung.name[0] not in arguments.rungs:
            continue
        if arguments.smoke:
            rung = on_cpu(rung)
        try:
            table[rung.name] = measure(chosen, rung, encoders, device, arguments.warmup, arguments.steps)
        except torch.OutOfMemoryError:
            print(f"{rung.name:32}out of memory", flush=True)
            continue
        finally:
            torch._dynamo.reset()
            torch.cuda.empty_cache()
        show(rung.name, table[rung.name])
    together = compare(table)
    print("\n".join(f"{name:32}{value:8.4g}  {BARS.get(name, '')}" for name, value in together.items()))
    if arguments.json:
        print(json.dumps({"rungs": table, **together}))
    return 0


def on_cpu(rung: Rung) -> Rung:
    """Without what a CPU lacks."""
    return replace(rung, attention="native", compiled=False, fused=False)


def wait(device: torch.device) -> None:
    """Until it has computed all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    raise SystemExit(main())
