"""A dataset version: a hash over what training depends on, and nothing else.

Belongs here: dataset rows -> version id. Raw scores are left out: their last bits may differ between machines.
"""

import hashlib
import json

import polars as pl

VERSIONED = ("content_sha256", "refined_caption", "speaking_status", "split", "licence", "engine", "engine_version")


def dataset_version(dataset: pl.DataFrame, decided_by: dict[str, str]) -> str:
    """16 hex digits over contents, captions, decisions, persons, splits and reference frames.

    Args:
        dataset: rows of `lafid_dataset` without the version.
        decided_by: whatever named the rules: policies, engine fingerprint.
    """
    person = {name: index for index, name in enumerate(dataset.sort("clip_id")["identity_id"].unique(maintain_order=True))}
    rows = [
        [row["clip_id"], *(row[name] for name in VERSIONED), person[row["identity_id"]], _frames(row["references"])]
        for row in dataset.sort("clip_id").iter_rows(named=True)
    ]
    return hashlib.sha256(json.dumps([rows, decided_by], sort_keys=True).encode()).hexdigest()[:16]


def _frames(references: list[dict[str, int]]) -> list[int]:
    return [reference["frame_index"] for reference in references]
