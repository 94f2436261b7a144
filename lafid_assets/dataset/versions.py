"""A dataset version: a hash over what training depends on, and nothing else.

Belongs here: dataset rows -> version id, and the version as rows of its own, which nothing that happens to the lake later
touches. Raw scores are left out of the hash: their last bits may differ between machines. So are paths, shards and snapshots. Not
here: comparing versions (`version_diff`).
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from lafid_assets import schemas
from lafid_assets.constraints.window import WINDOW_COLUMNS
from lafid_assets.dataset.funnel import RULES, STEPS, Outcomes
from lafid_assets.outcomes import Status
from lafid_assets.schemas.products import OUTCOME_COUNT
from resources.lake.frames import lent
from resources.lake.lake import Lake
from resources.lake.reader import Reader

VERSIONED = (
    "content_sha256",
    "refined_caption",
    "speaking_status",
    "split",
    *WINDOW_COLUMNS,
    "licence",
    "gate",
    "engine",
    "engine_version",
)
MASK_RULES = ("mask", "mask_sha256")
LATEST = "latest"

Facts = Mapping[str, Any]
"""A row of `dataset_versions`."""


class VersionUnknown(LookupError):
    """No kept version begins so; the message lists those that there are."""


@dataclass(frozen=True)
class Version:
    """A version as it was computed.

    Attributes:
        name: `dataset_version` of its rows.
        outcomes: how every clip ended that came in.
        decided_by: as `rules_of` gives it.
        snapshot: the lake's snapshot that was read.
        settings_sha256: of what its run was told; no part of its name.
    """

    name: str
    outcomes: Outcomes
    decided_by: Mapping[str, Any]
    snapshot: int
    settings_sha256: str | None = None


def dataset_version(dataset: pl.DataFrame, outcomes: str, decided_by: Mapping[str, Any]) -> str:
    """16 hex digits over contents, captions, decisions, persons, splits, windows and reference frames.

    Args:
        dataset: rows of `lafid_dataset` without the version.
        outcomes: digest of how every clip ended, the rejected ones included.
        decided_by: whatever named the rules and the models that measured: `rules_of`.
    """
    digest = hashlib.sha256(json.dumps([outcomes, decided_by], sort_keys=True).encode())
    persons: dict[str, int] = defaultdict(lambda: len(persons))
    wanted = dataset.select("clip_id", *VERSIONED, "identity_id", "references", "cross_references").sort("clip_id")
    for row in wanted.iter_rows(named=True):
        said = [
            row["clip_id"],
            *(row[name] for name in VERSIONED),
            persons[row["identity_id"]],
            [[reference["frame_index"], reference["face_index"]] for reference in row["references"]],
            [[reference["clip_id"], reference["reference_index"]] for reference in row["cross_references"]],
        ]
        digest.update(json.dumps(said).encode())
    return digest.hexdigest()[:16]


def rules_of(reader: Reader, outcomes: Outcomes) -> dict[str, dict[str, list[str]]]:
    """Table to column to the policies and models that occur in it, of the clips that were measured or decided there.

    Clips that failed are left out: what made them fail says nothing about the rules.
    """
    judged = f"status IN ('{Status.OK}', '{Status.REJECTED}')"
    named = reader.sql(f"SELECT DISTINCT step, {', '.join(RULES)} FROM {outcomes.came} WHERE {judged}")
    rules = {}
    for step, name in enumerate(STEPS):
        table = schemas.OUTCOME_TABLES[name]
        if columns := [column for column in RULES if column in schemas.BY_NAME[table].dtypes]:
            rules[table] = _occurring(named.filter(step=step), columns)
    masks = reader.sql(f"SELECT DISTINCT {', '.join(MASK_RULES)} FROM {schemas.REFERENCE_CROPS.name} WHERE {judged}")
    return rules | {schemas.REFERENCE_CROPS.name: _occurring(masks, MASK_RULES)}


def _occurring(named: pl.DataFrame, columns: Iterable[str]) -> dict[str, list[str]]:
    return {column: sorted(named[column].drop_nulls().unique()) for column in columns}


def keep_version(reader: Reader, dataset: pl.DataFrame, version: Version) -> pl.DataFrame:
    """Keep a version that is new: its rows, and the outcomes that differ from the last version's; a known one changes nothing.

    Args:
        reader: a transaction that writes.
        dataset: rows of `lafid_dataset`.

    Returns:
        what comes into `dataset_versions`: one row, or none.
    """
    known = known_versions(reader)
    if version.name in set(known["dataset_version"]):
        return schemas.DATASET_VERSIONS.frame([])
    number = int(known["number"].max() or 0) + 1  # type: ignore[arg-type]
    _keep_rows(reader, dataset)
    _keep_outcomes(reader, version.outcomes, number)
    row = {
        "dataset_version": version.name,
        "number": number,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "snapshot": version.snapshot,
        "clips": dataset.height,
        "identities": dataset["identity_id"].n_unique(),
        "clips_in": version.outcomes.clips_in,
        "funnel": version.outcomes.counts.to_dicts(),
        "decided_by": json.dumps(version.decided_by, sort_keys=True),
        "settings_sha256": version.settings_sha256,
        "erased_clips": 0,
    }
    return schemas.DATASET_VERSIONS.frame([row])


def known_versions(lake: Lake | Reader) -> pl.DataFrame:
    """Rows of `dataset_versions` in the order of their numbers; none before the first dataset."""
    return lake.sql(f"SELECT * FROM {schemas.DATASET_VERSIONS.name} ORDER BY number")


def standing_version(lake: Lake | Reader) -> Facts | None:
    """The version that `lafid_dataset` holds, which may be one of earlier; where it has no rows the last that kept none."""
    known = known_versions(lake)
    held = lake.sql(f"SELECT DISTINCT dataset_version FROM {schemas.LAFID_DATASET.name}")["dataset_version"]
    holds_none = pl.col("clips") == pl.col("erased_clips")
    standing = known.filter(pl.col("dataset_version").is_in(held.implode()) if len(held) else holds_none)
    return standing.row(-1, named=True) if standing.height else None


def funnel_of(version: Facts) -> pl.DataFrame:
    """How its clips ended: `status`, `step`, `reason`, `clips`."""
    return pl.DataFrame(version["funnel"], schema=OUTCOME_COUNT.to_schema())


def find_version(lake: Lake | Reader, beginning: str) -> Facts:
    """A version by its id or the beginning of it; `latest` is the one that was made last.

    Raises:
        VersionUnknown: there is none, or several begin so.
    """
    known = known_versions(lake)
    newest = known["dataset_version"].to_list()[-1:]
    names = newest if beginning == LATEST else [name for name in known["dataset_version"] if name.startswith(beginning)]
    if len(names) != 1:
        listed = ", ".join(known["dataset_version"]) or "none yet: run `lafid curate DIR` first"
        count = "several versions begin" if names else "no version begins"
        raise VersionUnknown(f"{count} with {beginning!r}: there are {listed}")
    return known.row(by_predicate=pl.col("dataset_version") == names[0], named=True)


def endings_sql(version: Facts, condition: str = "true") -> str:
    """SQL that gives `clip_id`, `status`, `step`, `reason` of every clip that came in when that version was made.

    Args:
        condition: on `clip_id`: which clips.
    """
    return f"""
        SELECT clip_id, last.status, last.step, last.reason FROM (
            SELECT clip_id, arg_max({{'status': status, 'step': step, 'reason': reason}}, since) AS last
            FROM {schemas.DATASET_OUTCOMES.name} WHERE since <= {version["number"]} AND {condition} GROUP BY clip_id
        ) WHERE last.status IS NOT NULL"""


def endings_at(reader: Reader, version: Facts, clips: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """Clip to (status, step, reason) in that version, of those clips that came in then."""
    rows = reader.sql(endings_sql(version, "clip_id IN (SELECT unnest(?))"), [sorted(clips)])
    return {clip: (status, step, reason) for clip, status, step, reason in rows.iter_rows()}


def version_before(lake: Lake | Reader, version: Facts) -> Facts | None:
    """The version that was made before it; None: it is the first."""
    before = known_versions(lake).filter(pl.col("number") < version["number"])
    return before.row(-1, named=True) if before.height else None


def _keep_rows(reader: Reader, dataset: pl.DataFrame) -> None:
    """Keep the rows in the order in which an export asks for them."""
    with lent(reader.cursor, kept_rows=dataset):
        reader.cursor.execute(
            f"INSERT INTO {schemas.DATASET_VERSION_ROWS.name} BY NAME SELECT * FROM kept_rows ORDER BY split, clip_id"
        )


def _keep_outcomes(reader: Reader, outcomes: Outcomes, number: int) -> None:
    log = schemas.DATASET_OUTCOMES.name
    reader.cursor.execute(
        f"""INSERT INTO {log} BY NAME
        WITH last AS (SELECT * FROM {log} SEMI JOIN (SELECT clip_id, max(since) AS since FROM {log} GROUP BY clip_id) newest
            USING (clip_id, since))
        SELECT clip_id, {number} AS since, now.status, now.step, now.reason
        FROM {outcomes.rows} now FULL JOIN last USING (clip_id)
        WHERE (now.status, now.step, now.reason) IS DISTINCT FROM (last.status, last.step, last.reason) ORDER BY clip_id"""
    )
