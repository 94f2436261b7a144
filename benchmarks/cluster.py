"""Persons among many clips: how long `identity_clusters`' kernel takes, what it holds in memory, and how right it is.

    python benchmarks/cluster.py [--clips 180000] [--singletons persons|clips] [--sklearn-clips 20000] [--json]

The centroids are generated: nobody has 180,000 labelled ones. scikit-learn's DBSCAN stands beside it on a subset, with the same
threshold, exact cosines and as many cores.
"""

import argparse
import json
import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lafid_assets.identity.impostor_pairs import Threshold, choose_threshold
from lafid_assets.identity.merging import Groups, merge
from lafid_assets.identity.neighbours import Pairs, mutual, nearest_pairs
from lafid_assets.identity.policies import ClusterPolicy

WIDTH = 512
MOST_CLIPS_OF_A_PERSON = 500
SINGLETON_SHARE = 0.40
# The directions in which faces differ are fewer than 512: 92 of equal weight give strangers the 99th percentile 0.24.
DIRECTIONS = 92
# Cosine of a clip's centroid to its person's direction: normal, cut off below, so that two clips reach 0.67 in the mean.
LIKENESS_MEAN, LIKENESS_SPREAD, LIKENESS_LEAST, LIKENESS_MOST = 0.82, 0.06, 0.70, 0.97
SECONDS_BAR, GB_BAR, PRECISION_BAR, RECALL_BAR = 300, 8, 0.99, 0.95


@dataclass(frozen=True, eq=False)
class Clips:
    """Generated clips: (N, 512) unit vectors in random order, and the person (N,) in each."""

    centroids: NDArray[np.float32]
    person: NDArray[np.int32]


def generate(count: int, singletons_of: str, seed: int = 0) -> Clips:
    """Persons with Zipf numbers of clips; clips scattered about their person's direction, all within the same 92 directions.

    Args:
        singletons_of: whether 40 % of the persons have one clip only, or 40 % of the clips are their person's only one.
    """
    random = np.random.default_rng(seed)
    person = random.permutation(_persons(count, singletons_of, random))
    axes = np.linalg.qr(random.standard_normal((WIDTH, DIRECTIONS)))[0].astype(np.float32)
    towards = _unit(random.standard_normal((int(person.max()) + 1, DIRECTIONS), np.float32))
    likeness = _likeness(count, random)
    centroids = np.empty((count, WIDTH), np.float32)
    for start in range(0, count, 20_000):
        part = slice(start, start + 20_000)
        own = towards[person[part]]
        scatter = random.standard_normal(own.shape, np.float32)
        scatter = _unit(scatter - np.sum(scatter * own, axis=1, keepdims=True) * own)
        alike = likeness[part, None]
        centroids[part] = (alike * own + np.sqrt(1 - alike**2) * scatter) @ axes.T
    return Clips(_unit(centroids), person)


def _persons(count: int, singletons_of: str, random: np.random.Generator) -> NDArray[np.int32]:
    sizes = np.arange(1, MOST_CLIPS_OF_A_PERSON + 1)
    low, high = 0.5, 5.0
    for _ in range(60):
        exponent = (low + high) / 2
        share = sizes**-exponent
        alone = share[0] / (share if singletons_of == "persons" else share * sizes).sum()
        low, high = (exponent, high) if alone < SINGLETON_SHARE else (low, exponent)
    drawn = random.choice(sizes, size=count, p=share / share.sum())
    persons = np.repeat(np.arange(len(drawn), dtype=np.int32), drawn)
    return persons[:count]


def _likeness(count: int, random: np.random.Generator) -> NDArray[np.float32]:
    drawn = random.normal(LIKENESS_MEAN, LIKENESS_SPREAD, 2 * count)
    inside = drawn[(drawn > LIKENESS_LEAST) & (drawn < LIKENESS_MOST)]
    return inside[:count].astype(np.float32)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def statistics(clips: Clips) -> dict[str, Any]:
    """What the generated set is like, to hold against the figures that it should have."""
    random = np.random.default_rng(1)
    first = random.integers(0, len(clips.person), 300_000)
    second = (first + random.integers(1, len(clips.person), len(first))) % len(clips.person)
    cosine = np.einsum("nd,nd->n", clips.centroids[first], clips.centroids[second])
    strangers = cosine[clips.person[first] != clips.person[second]]
    sizes = np.bincount(clips.person)
    order = np.argsort(clips.person, kind="stable")
    lowest, total, pairs = 1.0, 0.0, 0
    for end, size in zip(np.cumsum(sizes), sizes, strict=True):
        if size > 1:
            own = clips.centroids[order[end - size : end]]
            same = (own @ own.T)[np.triu_indices(size, 1)]
            lowest, total, pairs = min(lowest, float(same.min())), total + float(same.sum()), pairs + len(same)
    return {
        "clips": len(clips.person),
        "persons": int((sizes > 0).sum()),
        "persons_with_one_clip": float((sizes == 1).sum() / (sizes > 0).sum()),
        "clips_of_persons_with_one": float((sizes == 1).sum() / len(clips.person)),
        "most_clips_of_a_person": int(sizes.max()),
        "same_person_pairs": pairs,
        "same_person_mean": total / pairs,
        "same_person_min": lowest,
        "strangers_mean": float(strangers.mean()),
        "strangers_p99": float(np.percentile(strangers, 99)),
        "strangers_max": float(strangers.max()),
    }


def cluster(centroids: NDArray[np.float32]) -> tuple[Threshold, Pairs, Groups]:
    """The kernel of `identity_clusters` with the shipped policy."""
    policy = ClusterPolicy()
    figures = policy.figures_for("insightface")
    threshold = choose_threshold(centroids, figures, policy.false_links_per_clip)
    pairs = nearest_pairs(centroids, neighbours=policy.neighbours, floor=figures.edge_floor)
    linked = mutual(pairs, len(centroids), policy.neighbours)
    return threshold, pairs, merge(centroids, pairs, linked, threshold.cosine, figures.least_similarity)


def pairwise(person: NDArray[np.int32], label: NDArray[np.int32]) -> tuple[float, float]:
    """Precision and recall over pairs of clips."""
    together = np.unique(np.stack([person, label]), axis=1, return_counts=True)[1].astype(np.int64)
    found, true = (np.bincount(labels).astype(np.int64) for labels in (label, person))
    right = int((together * (together - 1)).sum())
    return right / max(int((found * (found - 1)).sum()), 1), right / max(int((true * (true - 1)).sum()), 1)


def beside_sklearn(clips: Clips, count: int) -> dict[str, Any]:
    """DBSCAN on the first `count` clips against the kernel on the same."""
    from sklearn.cluster import DBSCAN

    subset = Clips(clips.centroids[:count], clips.person[:count])
    started = time.perf_counter()
    threshold, _, groups = cluster(subset.centroids)
    ours_s = time.perf_counter() - started
    started = time.perf_counter()
    labels = DBSCAN(eps=1 - threshold.cosine, min_samples=2, metric="cosine", n_jobs=-1).fit(subset.centroids).labels_
    sklearn_s = time.perf_counter() - started
    alone = np.flatnonzero(labels < 0)
    labels[alone] = labels.max() + 1 + np.arange(len(alone))
    ours, theirs = pairwise(subset.person, groups.label), pairwise(subset.person, labels.astype(np.int32))
    return {
        "clips": count,
        "seconds": ours_s,
        "precision": ours[0],
        "recall": ours[1],
        "dbscan_seconds": sklearn_s,
        "dbscan_precision": theirs[0],
        "dbscan_recall": theirs[1],
    }


def measure(count: int, singletons_of: str, sklearn_clips: int) -> dict[str, Any]:
    """The whole benchmark as one object."""
    clips = generate(count, singletons_of)
    described = statistics(clips)
    started, cpu_started = time.perf_counter(), time.process_time()
    threshold, pairs, groups = cluster(clips.centroids)
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    # Before DBSCAN, whose memory is its own. Linux counts in KiB.
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    precision, recall = pairwise(clips.person, groups.label)
    small = beside_sklearn(clips, sklearn_clips)
    return {
        "seconds": seconds,
        "peak_gb": peak_gb,
        "precision": precision,
        "recall": recall,
        "ratio_sklearn": small["dbscan_seconds"] / small["seconds"],
        "cpu_s": cpu_s,
        "threshold": threshold.cosine,
        "pairs": len(pairs),
        "persons_found": int(groups.label.max()) + 1,
        "generated": described,
        "beside_dbscan": small,
    }


def main() -> int:
    """Print the figures; 1 where one of them misses its bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=180_000)
    parser.add_argument("--singletons", choices=("persons", "clips"), default="persons")
    parser.add_argument("--sklearn-clips", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.clips, arguments.singletons, min(arguments.sklearn_clips, arguments.clips))
    if arguments.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:14} {value if not isinstance(value, float) else round(value, 4)}")
    met = (
        found["seconds"] < SECONDS_BAR
        and found["peak_gb"] < GB_BAR
        and found["precision"] >= PRECISION_BAR
        and found["recall"] >= RECALL_BAR
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
