"""A dataset version: a hash over what training depends on, and nothing else.

Belongs here: dataset rows -> version id, the row of `dataset_versions`, and the kept rows in the store. Raw scores are left out
of the hash: their last bits may differ between machines. Not here: comparing versions (`version_diff`).
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from lafid_assets.dataset.funnel import count_outcomes
from lafid_assets.schemas import DATASET_VERSIONS
from resources.shard_store import ShardStore

FOLDER = "versions"
VERSIONED = (
    "content_sha256",
    "refined_caption",
    "speaking_status",
    "split",
    "licence",
    "gate",
    "engine",
    "engine_version",
)
OUTCOME = ("clip_id", "status", "step", "reason")
DECIDED_BY = ("policy", "policy_settings", "fingerprint", "transcriber", "mask", "mask_sha256")
"""Columns of the per-clip tables that name a policy, its thresholds, or a model with its settings."""
ROWS, OUTCOMES = "lafid_dataset.parquet", "outcomes.parquet"


class VersionUnknown(LookupError):
    """No kept version begins so; the message lists those that there are."""


@dataclass(frozen=True)
class KeptVersion:
    """A version with its rows.

    Attributes:
        facts: its row of `dataset_versions`.
        rows: rows of `lafid_dataset`.
        outcomes: how every clip ended that came in, as `funnel.clip_outcomes` gives it.
    """

    facts: Mapping[str, Any]
    rows: pl.DataFrame
    outcomes: pl.DataFrame


def dataset_version(dataset: pl.DataFrame, outcomes: pl.DataFrame, decided_by: Mapping[str, Any]) -> str:
    """16 hex digits over contents, captions, decisions, persons, splits and reference frames.

    Args:
        dataset: rows of `lafid_dataset` without the version.
        outcomes: how every clip ended, the rejected ones included.
        decided_by: whatever named the rules and the models that measured: `rules_of`.
    """
    person = {name: index for index, name in enumerate(dataset.sort("clip_id")["identity_id"].unique(maintain_order=True))}
    rows = [
        [
            row["clip_id"],
            *(row[name] for name in VERSIONED),
            person[row["identity_id"]],
            [[reference["frame_index"], reference["face_index"]] for reference in row["references"]],
            [[reference["clip_id"], reference["reference_index"]] for reference in row["cross_references"]],
        ]
        for row in dataset.sort("clip_id").iter_rows(named=True)
    ]
    ended = outcomes.select(OUTCOME).sort("clip_id").rows()
    return hashlib.sha256(json.dumps([rows, ended, decided_by], sort_keys=True).encode()).hexdigest()[:16]


def rules_of(tables: Mapping[str, pl.DataFrame]) -> dict[str, dict[str, list[str]]]:
    """Table to column to the policies and models that occur in it, of the clips that were measured or decided there.

    Clips that failed are left out: what made them fail says nothing about the rules.
    """
    rules: dict[str, dict[str, list[str]]] = {}
    for name, table in sorted(tables.items()):
        named = [column for column in DECIDED_BY if column in table.columns]
        if named and "status" in table.columns:
            judged = table.filter(pl.col("status").is_in(["ok", "rejected"]))
            rules[name] = {column: sorted(judged[column].drop_nulls().unique()) for column in named}
    return rules


def keep_version(
    store: ShardStore, dataset: pl.DataFrame, version: str, outcomes: pl.DataFrame, decided_by: Mapping[str, Any]
) -> pl.DataFrame:
    """Store the rows of a version that is new, and add it to the list; a known one changes nothing.

    Returns:
        rows of `dataset_versions`.
    """
    known = known_versions(store)
    if not is_kept(store, version):
        _write(store, version_path(version, ROWS), dataset)
        _write(store, version_path(version, OUTCOMES), outcomes)
    if version in set(known["dataset_version"]):
        return known
    counts = count_outcomes(outcomes, version).sort("status", "step", "reason")
    row = {
        "dataset_version": version,
        "number": known.height + 1,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "clips": dataset.height,
        "identities": dataset["identity_id"].n_unique(),
        "clips_in": outcomes.height,
        "funnel": counts.drop("dataset_version").to_dicts(),
        "decided_by": json.dumps(decided_by, sort_keys=True),
        "erased_clips": 0,
    }
    return DATASET_VERSIONS.frame(pl.concat([known, DATASET_VERSIONS.frame([row])]))


def known_versions(store: ShardStore) -> pl.DataFrame:
    """Rows of `dataset_versions`; none before the first dataset."""
    if not store.partitions(DATASET_VERSIONS.name):
        return DATASET_VERSIONS.frame([])
    return DATASET_VERSIONS.frame(store.read_table(DATASET_VERSIONS.name))


def version_path(version: str, name: str) -> str:
    """Where a file of a version lies in the store."""
    return f"{FOLDER}/{version}/{name}"


def is_kept(store: ShardStore, version: str) -> bool:
    """Whether the rows of a version lie in the store."""
    return all(store.exists(version_path(version, name)) for name in (ROWS, OUTCOMES))


def read_version(store: ShardStore, beginning: str) -> KeptVersion:
    """A kept version by its id or the beginning of it; `latest` is the one that was made last.

    Raises:
        VersionUnknown: there is none, or several begin so.
    """
    known = known_versions(store).sort("number")
    newest = known["dataset_version"].to_list()[-1:]
    names = newest if beginning == "latest" else [v for v in known["dataset_version"] if v.startswith(beginning)]
    if len(names) != 1:
        listed = ", ".join(known["dataset_version"]) or "none yet: run `lafid curate DIR` first"
        count = "several versions begin" if names else "no version begins"
        raise VersionUnknown(f"{count} with {beginning!r}: there are {listed}")
    facts = known.row(by_predicate=pl.col("dataset_version") == names[0], named=True)
    return KeptVersion(facts, *(_read(store, version_path(names[0], name)) for name in (ROWS, OUTCOMES)))


def _write(store: ShardStore, path: str, frame: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    store.write_bytes(path, buffer.getvalue())


def _read(store: ShardStore, path: str) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(store.read_bytes(path)))
