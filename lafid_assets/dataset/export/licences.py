"""Which licences let a clip be passed on.

Belongs here: the allow-list and the refusal. Not here: where a clip's licence comes from (`ingest.provenance`), writing
(`formats`).
"""

from collections.abc import Iterable

import polars as pl

DEFAULT_ALLOWED = (
    "public-domain",
    "PDDL-1.0",
    "CC0-1.0",
    "CC-PDDC",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-SA-3.0",
    "CC-BY-SA-4.0",
)
"""Licences that let anyone pass on cut-out and recaptioned clips. ND licences do not: a reference crop is a derivative."""


class LicenceRefused(PermissionError):
    """Rows may not leave under the licences on the allow-list; the message names licences, rows and remedies."""


def split_by_licence(rows: pl.DataFrame, also_allowed: Iterable[str] = ()) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows that may be passed on, rows that may not), by `licence`, letter case aside."""
    allowed = [name.lower() for name in (*DEFAULT_ALLOWED, *also_allowed)]
    may = pl.col("licence").str.to_lowercase().is_in(allowed)
    return rows.filter(may), rows.filter(~may)


def require_allowed(refused: pl.DataFrame) -> None:
    """Raises:
    LicenceRefused: there are rows that may not be passed on.
    """
    if refused.is_empty():
        return
    named = [
        f"{licence} ({clips.height} clips: {', '.join(clips['clip_id'].sort().head(3))}{', ...' if clips.height > 3 else ''})"
        for (licence,), clips in refused.sort("licence").group_by("licence", maintain_order=True)
    ]
    raise LicenceRefused(
        f"{refused.height} clips have a licence that is not on the allow-list: {'; '.join(named)}. Name it with --allow-licence "
        f"'{refused.sort('licence')['licence'][0]}' if you may pass them on, or leave them out with --skip-refused"
    )
