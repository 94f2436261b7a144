"""Versions of a dataset laid into a lake, without the curation that they came from."""

from collections.abc import Callable, Sequence
from typing import Any

from lafid_assets.schemas import DATASET_OUTCOMES, DATASET_VERSIONS, LAFID_DATASET, POLICY_SETTINGS
from resources.lake.lake import Lake


def keep_version(
    lake: Lake,
    row_of: Callable[..., dict[str, Any]],
    name: str,
    *,
    clips: Sequence[str] = ("a",),
    funnel: list[dict[str, Any]] | None = None,
    settings: str | None = None,
    ended: Sequence[tuple[str, str]] = (),
    **facts: Any,
) -> None:
    """The dataset holds the version, which is kept where it is not known yet.

    Args:
        clips: the dataset's.
        settings: what its run was told, under its own text as hash.
        ended: clip and status of those that end otherwise than before.
    """
    known = lake.read(DATASET_VERSIONS.name)
    frames = {LAFID_DATASET.name: LAFID_DATASET.frame(row_of(LAFID_DATASET, clip_id=c, dataset_version=name) for c in clips)}
    if name not in known["dataset_version"]:
        number = known.height + 1
        counted = funnel or [{"status": "kept", "step": "", "reason": "", "clips": len(clips)}]
        told = {"number": number, "funnel": counted, "decided_by": "{}", "settings_sha256": settings} | facts
        outcomes = [row_of(DATASET_OUTCOMES, clip_id=clip, status=status, since=number) for clip, status in ended]
        frames[DATASET_VERSIONS.name] = DATASET_VERSIONS.frame([row_of(DATASET_VERSIONS, dataset_version=name, **told)])
        frames[DATASET_OUTCOMES.name] = DATASET_OUTCOMES.frame(outcomes)
        if settings is not None:
            frames[POLICY_SETTINGS.name] = POLICY_SETTINGS.frame([{"policy_sha256": settings, "settings": settings}])
    lake.put(frames, fingerprint="f")
