"""The report as one self-contained HTML page.

Belongs here: figures and counts -> HTML. Not here: drawing them (`figures`, `contact_sheet`).
"""

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:1240px;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{border:1px solid #999;padding:.2em .7em;text-align:left}"
    "img{max-width:100%;border:1px solid #ccc}"
)


def render_page(
    funnel: Mapping[str, Any],
    splits: Mapping[str, Mapping[str, int]],
    decided_by: list[tuple[str, str]],
    pictures: Mapping[str, bytes],
    notes: list[str],
) -> str:
    """One page that can be mailed: no address outside itself.

    Args:
        funnel: as `funnel.as_object` gives it.
        splits: split to {"clips", "identities"}.
        decided_by: rules and models, what and how.
        pictures: heading to PNG.
        notes: sentences that the reader must know.
    """
    ended = [("kept", "", funnel["kept"])] + ([("timeout", "", funnel["timeout"])] if funnel["timeout"] else [])
    for status in ("rejected", "error", "skipped"):
        ended += [(status, reason, clips) for reason, clips in funnel[status].items()]
    sections = [
        f"<h1>LaFID dataset {escape(str(funnel['dataset_version']))}</h1>",
        f"<p>{funnel['in']} clips came in, {funnel['kept']} are kept.</p>",
        *(f"<p>{escape(note)}</p>" for note in notes),
        _table(("outcome", "reason", "clips"), ended),
        "<h2>Splits</h2>",
        _table(("split", "clips", "identities"), [(name, s["clips"], s["identities"]) for name, s in splits.items()]),
        "<h2>How it was decided</h2>",
        _table(("what", "how"), decided_by),
        *(
            f'<h2>{escape(heading)}</h2><img alt="{escape(heading)}" src="{png_address(png)}">'
            for heading, png in pictures.items()
        ),
    ]
    return f'<!doctype html><meta charset="utf-8"><title>LaFID dataset</title><style>{STYLE}</style>{"".join(sections)}'


def png_address(png: bytes) -> str:
    """A picture as an address that carries it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    def line(cells: tuple[Any, ...], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + line(head, "th") + "".join(line(row, "td") for row in rows) + "</table>"
