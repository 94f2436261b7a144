"""Does each part of the face branch do what it is for? Drawn heads, known identity: `python -m benchmarks.ablation [--quick]`.

Every variant starts from one base that draws heads as a text says, and trains LoRA on its attention for the same steps on the
same clips, whose texts say nothing of the person; variants differ in what else they are told of him, and are held against
controls with the same parameters (`head_variants`). Text-to-video from a photo in any pose: frames show the person in other
poses, expressions and light than the photo, so that copying it is no answer. Judged are, in the space of a network that
conditions no model, generated frames of persons that no training ever saw (`head_scores`).

Results are kept by (variant, seed) in --out and never computed twice; kill it at any moment and start it again. Rows that
carry a claim have five seeds, the others two. Beside the results lie `table.txt`, `table.json` and pictures of the curves.
With --json the last line is one object: {variant: {similarity, spread, far_pose, swap_other, hidden, ...}, real_frames, ...}.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.ablation_curves import write_pictures
from benchmarks.ablation_table import summarise, text_of
from benchmarks.head_base import base_of, pretrained_transformer
from benchmarks.head_clips import HeadClips, decode, make_clips
from benchmarks.head_identity import IdentityEncoder
from benchmarks.head_judge import Recogniser, recogniser, validity
from benchmarks.head_scores import Judge, Score, curve_point, score_of, words_alone
from benchmarks.head_training import Trained, train
from benchmarks.head_variants import QUICK, VARIANTS
from model.bases.base import Base
from model.files import whole_file

VERSION = 4
"""Raised when heads, judge, base, variants or training change: results of other code are other results."""
QUICK_SEEDS = 2


class World(NamedTuple):
    """What all variants share."""

    folder: Path
    base: Base
    train: HeadClips
    judge: Judge


class Sizes(NamedTuple):
    """What a result depends on beside code, variant and seed."""

    steps: int
    base_steps: int
    train_persons: int
    test_persons: int


def prepare(out: Path, sizes: Sizes) -> World:
    """Networks (trained where they are not there) and clips."""
    folder = out / _digest(sizes._replace(steps=0))
    conditioner = recogniser(folder / "conditioner.safetensors", width=24, seed=1)
    network: Recogniser = recogniser(folder / "judge.safetensors", width=32, seed=2)
    _say("networks that recognise heads are ready")
    encoder = IdentityEncoder(conditioner)
    clips = make_clips(sizes.train_persons, 100, encoder)
    judge = Judge(network, make_clips(sizes.test_persons, 200, encoder))
    transformer = pretrained_transformer(folder / "base.safetensors", clips, sizes.base_steps, _say)
    return World(folder, base_of(transformer, folder / "tiny"), clips, judge)


def measure(out: Path, seeds: dict[str, int], sizes: Sizes) -> dict[str, Any]:
    """Runs what has no result yet, `seeds[variant]` seeds of each, one seed of all before the next; the whole table."""
    world = prepare(out, sizes)
    runs: dict[str, list[dict[str, Any]]] = {variant: [] for variant in seeds}
    for seed in range(max(seeds.values())):
        for variant in (name for name, wanted in seeds.items() if seed < wanted):
            runs[variant].append(_kept(world, variant, seed, sizes.steps))
    judge = world.judge
    return {
        **summarise(runs),
        "real_frames": _of_frames(judge, decode(judge.clips.latents)),
        "words": _of_frames(judge, words_alone(world.base, judge)),
        "judge": validity(judge.network)._asdict(),
        "sizes": sizes._asdict(),
    }


def _of_frames(judge: Judge, frames: NDArray[np.uint8]) -> dict[str, Any]:
    """The columns that need no variant."""
    traits = judge.traits(frames)
    similarity = judge.similarity(traits)
    by_gap = judge.by_gap(similarity)
    return {"similarity": float(similarity.mean()), "by_gap": by_gap, "far_pose": by_gap[-1], **judge.features(traits)}


def run(world: World, variant: str, seed: int, steps: int) -> Score:
    """Trains one variant with one seed and judges it on persons that it never saw."""
    curve: list[tuple[int, float]] = []
    judging_s = 0.0

    def look(step: int, trained: Trained) -> None:
        nonlocal judging_s
        before_s = time.process_time()
        curve.append((step, curve_point(trained, world.judge, seed)))
        judging_s += time.process_time() - before_s

    started_s = time.process_time()
    trained, loss = train(VARIANTS[variant], seed, steps, world.base, world.train, look)
    train_s = time.process_time() - started_s - judging_s
    look(steps, trained)
    return score_of(trained, world.judge, world.train, seed, curve, loss, train_s)


def _kept(world: World, variant: str, seed: int, steps: int) -> dict[str, Any]:
    path = world.folder / f"{steps}-steps" / f"{variant}-{seed}.json"
    if path.is_file():
        return json.loads(path.read_text())
    started_s = time.process_time()
    score = run(world, variant, seed, steps)
    kept = asdict(score) | {"cpu_s": time.process_time() - started_s}
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(kept) + "\n")
    _say(
        f"seed {seed} {variant:22} similarity {score.similarity:.3f}, hidden {score.hidden or 0:.2f}, loss {score.loss:.3f}, "
        f"{score.train_s / steps:.3f} s a step, {kept['cpu_s']:.0f} CPU seconds"
    )
    return kept


def _digest(sizes: Sizes) -> str:
    return hashlib.sha256(json.dumps({"version": VERSION, **sizes._asdict()}, sort_keys=True).encode()).hexdigest()[:12]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one object")
    parser.add_argument("--quick", action="store_true", help=f"half the steps, {QUICK_SEEDS} seeds of {', '.join(QUICK)}")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, help="of every variant; default: five of those that carry a claim, else two")
    parser.add_argument("--steps", type=int, default=450, help="of each variant")
    parser.add_argument("--base-steps", type=int, default=5000, help="of the base that all share")
    parser.add_argument("--train-persons", type=int, default=2000)
    parser.add_argument("--test-persons", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path(".lafid/ablation"), help="networks, results, tables and pictures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = {name: arguments.seeds or VARIANTS[name].seeds for name in arguments.variants}
    sizes = Sizes(arguments.steps, arguments.base_steps, arguments.train_persons, arguments.test_persons)
    if arguments.quick:
        seeds = dict.fromkeys(QUICK, QUICK_SEEDS)
        sizes = sizes._replace(steps=arguments.steps // 2)
    table = measure(arguments.out, seeds, sizes)
    print(text := text_of(table))
    for name, content in (("table.txt", text), ("table.json", json.dumps(table))):
        with whole_file(arguments.out / name) as temporary:
            temporary.write_text(content + "\n")
    write_pictures(table, arguments.out)
    if arguments.json:
        print(json.dumps(table))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
