"""What caching, the face branch and checkpointing do to a training step, as ratios: `python -m benchmarks.train_cpu [--json]`.

A small text-to-video base on one thread, 9 frames of 256 x 256 px, LoRA of rank 16. CPU seconds, rungs interleaved, the least of
the rounds: wall time on a shared machine says nothing. With --json the last line is one object: `ratio_cached` (online over
cached), `cost_face_branch` and `cost_checkpointing` (what each adds, as a share of the step without it).
"""

import argparse
import json
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from benchmarks.train_rungs import OnlineEncoders, Rung, bare, open_rung
from model.bases.specs import BaseSpec, WanConfig
from model.clip_size import ClipSize
from model.presets import FeatureShapes, FusionConfig, Preset, preset

WAN = WanConfig(num_attention_heads=6, attention_head_dim=64, text_dim=512, ffn_dim=1536, num_layers=4)
PRESET = bare(
    Preset(
        name="benchmark",
        base=BaseSpec(name="benchmark", layout="t2v", transformer=WAN),
        features=FeatureShapes(semantic_width=512, detail_tokens=256),
        clip=ClipSize(frames=9, height=256, width=256),
        fusion=FusionConfig(tokens=16, token_width=128, attention_width=128, head_width=64),
        train=preset("tiny").train.model_copy(update={"first_frame_dropout": 1.0, "text_dropout": 0.0, "lr": 1e-4}),
    ),
    lora_rank=16,
)
ENCODERS = OnlineEncoders(
    vae={"base_dim": 8, "z_dim": 16},
    text={"vocab_size": 1000, "d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 2, "num_heads": 8},
)
RUNGS = (
    Rung("VAE and text encoder online", online=True, checkpointing=0.0, ahead=False),
    Rung("cached", checkpointing=0.0, ahead=False),
    Rung("cached, face branch", checkpointing=0.0, ahead=False, face="narrow"),
    Rung("cached, face branch, checkpointing", ahead=False, face="narrow"),
)


def measure(rounds: int) -> list[float]:
    """Least CPU seconds of a step on each rung."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        steps = [stack.enter_context(open_rung(PRESET, rung, ENCODERS, folder, torch.device("cpu"))) for rung in RUNGS]
        least = [float("inf")] * len(RUNGS)
        for round_ in range(rounds + 1):
            for number, step in enumerate(steps):
                began_s = time.process_time()
                step()
                # The first step of each allocates.
                if round_:
                    least[number] = min(least[number], time.process_time() - began_s)
    return least


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one object")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    online, cached, face, checkpointed = least = measure(arguments.rounds)
    for rung, seconds in zip(RUNGS, least, strict=True):
        print(f"{rung.name:40} {seconds:6.2f} CPU seconds a step")
    ratios = {
        "ratio_cached": online / cached,
        "cost_face_branch": face / cached - 1,
        "cost_checkpointing": checkpointed / face - 1,
    }
    saved, face_cost, memory_cost = ratios.values()
    print(f"cached {saved:.1f} times as fast; face branch {face_cost:+.1%}; checkpointing {memory_cost:+.1%}")
    if arguments.json:
        print(json.dumps(ratios))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
