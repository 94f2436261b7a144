"""`lafid diff A B`: which clips came, went or changed between two versions of the dataset, and why. Needs no Dagster."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from lafid_assets.cli.display import CONSOLE
from lafid_assets.dataset.version_diff import as_object
from lafid_assets.lake import open_lake
from resources.settings import Settings


def read_diff(settings: Settings, older: str, newer: str) -> dict[str, Any]:
    """The difference as one object, as `version_diff.as_object` gives it."""
    return as_object(open_lake(settings, read_only=True), older, newer)


def show_diff(diff: Mapping[str, Any]) -> None:
    """Show the difference as a table, a line a clip."""
    older, newer = diff["versions"]
    CONSOLE.print(f"From version {older} to {newer}")
    table = Table()
    table.add_column("clip", no_wrap=True)
    table.add_column("change")
    table.add_column("why", overflow="fold")
    for row in diff["rows"]:
        table.add_row(*map(Text, (row["clip_id"], row["change"], row["why"])))
    if diff["rows"]:
        CONSOLE.print(table)
    CONSOLE.print(f"{diff['clips'][0]} clips before, {diff['clips'][1]} after: ", end="")
    CONSOLE.print(f"{diff['came']} came, {diff['went']} went, {diff['changed']} changed")
    if diff["went"]:
        by_decision = diff["went_by_decision"]
        CONSOLE.print(f"of those that went, {by_decision} by a decision, {diff['went'] - by_decision} by anything else")
    if diff["rules_differ"]:
        CONSOLE.print("Policies or measuring models differ: see dataset_versions.decided_by")
    for version, erased in zip(diff["versions"], diff["erased"], strict=True):
        if erased:
            CONSOLE.print(f"version {version} is marked erased: {erased} clips")
