"""Does the face branch do what it is for? Drawn heads, known identity and pose: `python -m benchmarks.ablation [--json]`.

Every variant starts from one base that draws turning heads of nobody in particular, and trains LoRA on its attention for the
same steps on the same clips; variants differ in what they are told of the person. Text-to-video from a photo: frames show the
person in other poses and light than the photo, so that copying it is no answer. Judged is the cosine similarity, in a
network's space that conditions no model, of generated frames with persons that no training ever saw.

    none        no face branch        mofe        one gate for the network     cofe        a gate a block
    aligner     cofe and the aligner  references  cofe and two further views   all         cofe, time-aware, both

Results are kept by (variant, seed) in --out and never computed twice; kill it at any moment and start it again. With
--json the last line is one object: for each variant `similarity` and `similarity_spread` (standard deviation over seeds).
"""

import argparse
import hashlib
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from benchmarks.head_clips import HeadClips, decode, make_clips
from benchmarks.head_judge import Recogniser, recogniser, validity
from benchmarks.head_models import (
    GAPS_DEG,
    VARIANTS,
    Score,
    base_of,
    gap_means,
    pretrained_transformer,
    run,
    similarity_of,
)
from model.files import whole_file

VERSION = 1
"""Raised when heads, judge, base or training change: results of other code are other results."""


def measure(out: Path, variants: list[str], seeds: int, steps: int, sizes: dict[str, int]) -> dict[str, Any]:
    """Runs what has no result yet; the whole table as one object."""
    folder = out / _digest(sizes)
    conditioner = recogniser(folder / "conditioner.safetensors", width=24, seed=1)
    judge = recogniser(folder / "judge.safetensors", width=32, seed=2)
    _say("networks that recognise heads are ready")
    train = make_clips(sizes["train_persons"], 100, conditioner)
    test = make_clips(sizes["test_persons"], 200, conditioner)
    transformer = pretrained_transformer(folder / "base.safetensors", train, sizes["base_steps"], _say)
    shared = base_of(transformer, folder / "tiny")
    runs: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    for seed in range(seeds):
        for variant in variants:
            path = folder / f"{steps}-steps" / f"{variant}-{seed}.json"
            runs[variant].append(_kept(path, variant, seed, steps, shared, train, test, judge))
    real = similarity_of(decode(test.latents), test, judge)
    gap_deg = (test.yaw_deg - test.view_angles_deg[:, :1, 0]).abs().numpy()
    return {
        **{variant: _summary(scores) for variant, scores in runs.items()},
        "real_frames": {"similarity": float(real.mean()), "by_gap": gap_means(real, gap_deg)},
        "judge": validity(judge)._asdict(),
        "seeds": seeds,
        "steps": steps,
        "gaps_deg": GAPS_DEG,
        **sizes,
    }


def show(table: dict[str, Any]) -> None:
    """The table as text."""
    heads = "".join(f"{f'{low}-{high} deg':>16}" for low, high in table["gaps_deg"])
    print(
        f"\nsimilarity with persons never seen, by pose gap to the photo; {table['seeds']} seeds, mean and standard deviation\n"
    )
    print(f"{'variant':12}{'all frames':>16}{heads}{'flow loss':>12}")
    for variant in VARIANTS:
        if variant in table:
            row = table[variant]
            pairs = [(row["similarity"], row["similarity_spread"]), *zip(row["by_gap"], row["by_gap_spread"], strict=True)]
            cells = "".join(f"{f'{mean:.3f} ± {spread:.3f}':>16}" for mean, spread in pairs)
            print(f"{variant:12}{cells}{row['loss']:>12.3f}")
    real, judge = table["real_frames"], table["judge"]
    print(f"{'real frames':12}" + "".join(f"{value:>16.3f}" for value in (real["similarity"], *real["by_gap"])))
    print(
        f"\nthe judge: one head in two poses {judge['same']:.3f} ({judge['same_far']:.3f} more than 60 deg apart), two heads "
        f"{judge['different']:.3f}, told apart in {judge['auc']:.2%} of pairs ({judge['auc_far']:.2%})"
    )


def _kept(
    path: Path, variant: str, seed: int, steps: int, shared: Any, train: HeadClips, test: HeadClips, judge: Recogniser
) -> dict[str, Any]:
    if path.is_file():
        return json.loads(path.read_text())
    started_s = time.process_time()
    score: Score = run(variant, seed, steps, shared, train, test, judge)
    kept = asdict(score) | {"cpu_s": time.process_time() - started_s}
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(kept) + "\n")
    _say(f"seed {seed} {variant:12} similarity {score.similarity:.3f}, loss {score.loss:.3f}, {kept['cpu_s']:.0f} CPU seconds")
    return kept


def _summary(scores: list[dict[str, Any]]) -> dict[str, Any]:
    similarity = np.array([score["similarity"] for score in scores])
    by_gap = np.array([score["by_gap"] for score in scores])
    spread = {"ddof": 1} if len(scores) > 1 else {"ddof": 0}
    return {
        "similarity": float(similarity.mean()),
        "similarity_spread": float(similarity.std(**spread)),
        "by_gap": by_gap.mean(axis=0).tolist(),
        "by_gap_spread": by_gap.std(axis=0, **spread).tolist(),
        "loss": float(np.mean([score["loss"] for score in scores])),
        "cpu_s": float(np.sum([score["cpu_s"] for score in scores])),
    }


def _digest(sizes: dict[str, int]) -> str:
    return hashlib.sha256(json.dumps({"version": VERSION, **sizes}, sort_keys=True).encode()).hexdigest()[:12]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one object")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300, help="of each variant")
    parser.add_argument("--base-steps", type=int, default=4000, help="of the base that all share")
    parser.add_argument("--train-persons", type=int, default=2000)
    parser.add_argument("--test-persons", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path(".lafid/ablation"), help="networks and results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sizes = {name: getattr(arguments, name) for name in ("base_steps", "train_persons", "test_persons")}
    table = measure(arguments.out, arguments.variants, arguments.seeds, arguments.steps, sizes)
    show(table)
    if arguments.json:
        print(json.dumps(table))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
