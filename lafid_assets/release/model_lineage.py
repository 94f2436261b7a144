"""The way back from a registered version to its clips, and from a clip to the models that were trained on it.

Belongs here: both, from the lake and the registry alone, so that any machine that knows their addresses can ask. Not here: what a
version says of itself (`lineage`), showing it (`cli.lineage`).
"""

from typing import Any

import polars as pl

from lafid_assets.release.lineage import COMMIT_TAG, VERDICT_TAG, policies_of
from lafid_assets.schemas import DATASET_VERSION_ROWS, DATASET_VERSIONS, JUDGEMENTS, PROMOTIONS
from resources.lake.lake import Lake
from resources.lake.reader import Reader
from resources.tracking import CHECKPOINT_TAG, DATASET_TAG, Tracking

_BASE = {"name": "", "repository": "_repository", "revision": "_revision", "sha256": "_sha256"}
"""Facts about the base, and how the tag of each ends."""


class ClipUnknown(LookupError):
    """No dataset version holds such a clip; the message says what that may mean."""


def lineage_of_model(lake: Lake, tracking: Tracking, address: str) -> dict[str, Any]:
    """What a registered version was made of, and what became of it.

    Args:
        address: as `Tracking.resolve` takes it.

    Returns:
        `dataset` and `clips` are empty where the lake does not know the dataset version: the tags say what was written then.

    Raises:
        resources.tracking.VersionUnknown: the registry has no such version.
    """
    version = tracking.resolve(address)
    name, number, tags = version.name, str(version.version), tracking.tags_of(version)
    aliases = tracking.registered_model(name).aliases
    trained_on = tags.get(DATASET_TAG, "")
    with lake.snapshot() as reader:
        return {
            "model": f"models:/{name}/{number}",
            "aliases": sorted(alias for alias, pointed in aliases.items() if str(pointed) == number),
            "source": version.source,
            "verdict": tags.get(VERDICT_TAG),
            "checkpoint_sha256": tags.get(CHECKPOINT_TAG),
            "runs": {"mlflow": tags.get("lafid.training_run"), "dagster": tags.get("dagster.run_id")},
            "commit": tags.get(COMMIT_TAG),
            "preset": tags.get("lafid.preset"),
            "base": {what: tags.get(f"lafid.base{tail}") for what, tail in _BASE.items()},
            "licences": [part for part in tags.get("lafid.licences", "").split("; ") if part],
            "dataset_version": trained_on or None,
            "dataset": _dataset(reader, trained_on),
            "clips": _clips(reader, trained_on),
            "judgements": reader.sql(
                "SELECT judged_at, gate, verdict, bench_name, bench_version, against_version, dagster_run_id, findings "
                f"FROM {JUDGEMENTS.name} WHERE model_name = ? AND model_version = ? ORDER BY judged_at",
                [name, number],
            ).to_dicts(),
            "promotions": reader.sql(
                f"SELECT moved_at, alias, from_version, to_version, how, moved_by, why FROM {PROMOTIONS.name} "
                "WHERE model_name = ? AND ? IN (from_version, to_version) ORDER BY moved_at",
                [name, number],
            ).to_dicts(),
        }


def lineage_of_clip(lake: Lake, tracking: Tracking, clip: str) -> dict[str, Any]:
    """Which dataset versions a clip is in, which checkpoints and models were trained on it, and which of them hold an alias.

    Args:
        clip: its id, or the beginning of it.

    Raises:
        ClipUnknown: no dataset version holds it, or several clips begin so.
    """
    with lake.snapshot() as reader:
        clip_id = _clip_id(reader, clip)
        versions = reader.sql(
            f"SELECT held.dataset_version, number, made_at, split, source, licence, path FROM {DATASET_VERSION_ROWS.name} held "
            f"LEFT JOIN {DATASET_VERSIONS.name} USING (dataset_version) WHERE clip_id = ? ORDER BY number",
            [clip_id],
        )
    trained = set(versions.filter(split="train")["dataset_version"])
    models, checkpoints = _trained_on(tracking, trained)
    return {"clip_id": clip_id, "dataset_versions": versions.to_dicts(), "models": models, "checkpoints": checkpoints}


def _dataset(reader: Reader, dataset_version: str) -> dict[str, Any]:
    found = reader.sql(f"SELECT * FROM {DATASET_VERSIONS.name} WHERE dataset_version = ?", [dataset_version])
    if found.is_empty():
        return {}
    row = found.row(0, named=True)
    shown = {name: row[name] for name in ("number", "made_at", "clips", "identities", "clips_in", "erased_clips", "funnel")}
    return shown | {"policies": policies_of([row["decided_by"]])}


def _clips(reader: Reader, dataset_version: str) -> list[dict[str, Any]]:
    sql = (
        f"SELECT clip_id, split, identity_id, source, licence FROM {DATASET_VERSION_ROWS.name} WHERE dataset_version = ? "
        "ORDER BY split, clip_id"
    )
    return reader.sql(sql, [dataset_version]).to_dicts()


def _clip_id(reader: Reader, clip: str) -> str:
    found: pl.Series = reader.sql(
        f"SELECT DISTINCT clip_id FROM {DATASET_VERSION_ROWS.name} WHERE starts_with(clip_id, ?) ORDER BY clip_id", [clip]
    )["clip_id"]
    if clip in found or len(found) == 1:
        return clip if clip in found else str(found[0])
    if len(found):
        raise ClipUnknown(f"{len(found)} clips begin with {clip}: {', '.join(found[:5])}; say more of it")
    raise ClipUnknown(
        f"no dataset version holds clip {clip}: it was never kept (`lafid explain {clip}` says why), or was forgotten"
    )


def _trained_on(tracking: Tracking, dataset_versions: set[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Registered versions, and logged checkpoints that are none."""
    if not dataset_versions or not tracking.is_there:
        return [], []
    client = tracking.connect()
    told = [(version, tracking.tags_of(version)) for version in client.search_model_versions()]
    found = [(version, tags) for version, tags in told if tags.get(DATASET_TAG) in dataset_versions]
    names = sorted({version.name for version, _ in found})
    aliases = {name: tracking.registered_model(name).aliases for name in names}
    models = [
        {
            "model": f"models:/{version.name}/{version.version}",
            "dataset_version": tags[DATASET_TAG],
            "checkpoint_sha256": tags.get(CHECKPOINT_TAG),
            "aliases": sorted(alias for alias, number in aliases[version.name].items() if str(number) == str(version.version)),
        }
        for version, tags in sorted(found, key=lambda one: (one[0].name, int(one[0].version)))
    ]
    registered = {version.source for version, _ in told}
    checkpoints = [
        {"model": f"models:/{model_id}", "dataset_version": trained}
        for trained in sorted(dataset_versions)
        for model_id in tracking.tagged_models(DATASET_TAG, trained)
        if f"models:/{model_id}" not in registered
    ]
    return models, checkpoints
