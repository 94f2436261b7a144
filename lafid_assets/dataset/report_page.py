"""The report as one self-contained HTML page.

Belongs here: what the page shows, by the names of its template (`templates/report.html`). Not here: counting (`report_data`,
`report_outcomes`), drawing (`figures`, `contact_sheet`), escaping (`pages`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from lafid_assets import pages
from lafid_assets.dataset.contact_sheet import STRIPS_A_PAGE, Strip
from lafid_assets.dataset.report_outcomes import Failed, Shards
from lafid_assets.dataset.version_diff import NO_LONGER_IN, REPLACED

KEPT, REJECTED = "Kept clips, by person", "Rejected clips, the narrowest misses first"
MOST_KINDS = 12
"""Ways in which clips differ from the last version that are told apart."""


@dataclass(frozen=True)
class Change:
    """What changed since the version before.

    Attributes:
        counts: as `version_diff.summarize` gives it.
        kinds: `change`, `kind`, `clips` and `example`, most clips first; no example of clips that do not come in any more.
    """

    counts: Mapping[str, Any]
    kinds: list[dict[str, Any]]

    @classmethod
    def of(cls, counts: Mapping[str, Any], rows: pl.DataFrame) -> "Change":
        """
        Args:
            rows: as `version_diff.diff_versions` gives them.
        """
        # `lafid forget` takes away the reports of versions in which a clip came in, hence only these name it.
        named = pl.col("clip_id").filter(~pl.col("kind").is_in([NO_LONGER_IN, REPLACED]))
        kinds = rows.group_by("change", "kind").agg(clips=pl.len(), example=named.min())
        return cls(counts, kinds.sort("clips", "change", "kind", descending=[True, False, False]).to_dicts())


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    Attributes:
        made_at: when the version was made, ISO 8601.
        funnel: as `funnel.as_object` gives it.
        change: None: it is the first version.
        splits: name, clips and persons of each.
        decided_by: rules and models, what and how.
        charts: heading to PNG.
        strips: clips that are shown, with `pictures` (JPEG) of those that could be decoded.
        notes: sentences that the reader must know.
    """

    made_at: str
    funnel: Mapping[str, Any]
    change: Change | None
    splits: Sequence[tuple[str, int, int]]
    failed: Sequence[Failed]
    shards: Shards
    decided_by: Sequence[tuple[str, str]]
    charts: Mapping[str, bytes]
    strips: Sequence[Strip]
    pictures: Mapping[str, bytes]
    notes: Sequence[str]


def render_page(report: Report) -> str:
    """One page that can be mailed: no address outside itself."""
    funnel = report.funnel
    ended = [("kept", "", funnel["kept"])] + ([("timeout", "", funnel["timeout"])] if funnel["timeout"] else [])
    for status in ("rejected", "error", "skipped"):
        ended += [(status, reason, clips) for reason, clips in funnel[status].items()]
    examples = [example for failed in report.failed for example in failed.examples]
    chosen_by: dict[str, list[str | None]] = {
        "source": [strip.source for strip in report.strips] + [example["source"] for example in examples],
        "reason": [*(strip.reason for strip in report.strips), *(failed.reason for failed in report.failed)],
        "person": [strip.person for strip in report.strips],
    }
    return pages.render(
        "report.html",
        report=report,
        ended=ended,
        most_kinds=MOST_KINDS,
        charts={heading: pages.png_address(png) for heading, png in report.charts.items()},
        pictures={clip: pages.jpeg_address(jpeg) for clip, jpeg in report.pictures.items()},
        sheets=[(KEPT, _paged(report.strips, True)), (REJECTED, _paged(report.strips, False))],
        filters={name: sorted({value for value in values if value}) for name, values in chosen_by.items()},
    )


def _paged(strips: Sequence[Strip], kept: bool) -> list[list[Strip]]:
    shown = [strip for strip in strips if strip.kept is kept]
    return [shown[start : start + STRIPS_A_PAGE] for start in range(0, len(shown), STRIPS_A_PAGE)]
