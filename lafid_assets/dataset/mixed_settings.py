"""Shards under different settings are no dataset, unless somebody asks for it.

Belongs here: finding the tables whose shards differ, and saying in which lines. Not here: which settings there are (`rules_of` in
`versions`), what a run is told (`settings_check`).
"""

import json
from collections.abc import Mapping
from typing import Any

from lafid_assets.dataset.versions import standing_version
from lafid_assets.policy_settings import all_settings
from lafid_assets.wording import first_few
from resources.lake_reader import Reader

_DECIDING = ("fingerprint", "policy_sha256", "mask")
"""Columns of which a dataset has one value a table: the engine with its settings, the policy, what cut heads out."""
_SHOWN = 4


class MixedSettings(ValueError):
    """Shards were measured or decided under different settings; the message names tables, shards, lines and remedy."""


def refuse_mixed(reader: Reader, decided_by: Mapping[str, Mapping[str, list[str]]]) -> None:
    """Refuses a dataset whose tables are not all under one setting.

    Args:
        decided_by: table to column to the values that occur, as `versions.rules_of` gives it.

    Raises:
        MixedSettings: a table has several.
    """
    if several := _mixed_tables(decided_by):
        told = "; ".join(_difference(reader, *one) for one in several)
        raise MixedSettings(
            f"the shards stand under different settings: {told}. Materialize these tables for all shards under one ("
            "`lafid settings diff` counts them, `lafid curate` does it), or set mixed_settings of lafid_dataset"
        )


def mixed(reader: Reader) -> list[str]:
    """A line for each table whose shards in the standing dataset are under several settings; none where all agree."""
    standing = standing_version(reader)
    decided_by = json.loads(standing["decided_by"]) if standing else {}
    return [_difference(reader, *one) for one in _mixed_tables(decided_by)]


def _mixed_tables(decided_by: Mapping[str, Mapping[str, list[str]]]) -> list[tuple[str, str, list[str]]]:
    """Table, column and values where several decide."""
    return [
        (table, column, values)
        for table, columns in decided_by.items()
        for column, values in columns.items()
        if column in _DECIDING and len(values) > 1
    ]


def _difference(reader: Reader, table: str, column: str, values: list[str]) -> str:
    shards = dict(
        reader.sql(
            f"SELECT {column}, list(DISTINCT shard ORDER BY shard) FROM {table} WHERE {column} IS NOT NULL GROUP BY 1"
        ).iter_rows()
    )
    where = " and ".join(first_few(shards[value], _SHOWN) for value in values)
    lines = _differing_lines([json.loads(text) for text in map(all_settings(reader).get, values) if text is not None])
    return f"{table} of {where} by another {column}" + (f" ({', '.join(lines)})" if lines else "")


def _differing_lines(settings: list[dict[str, Any]]) -> list[str]:
    """`line: a, b` for each line in which they differ."""
    names = sorted({name for said in settings for name in said})
    values = {name: [json.dumps(said.get(name)) for said in settings] for name in names}
    return [f"{name}: {', '.join(said)}" for name, said in values.items() if len(set(said)) > 1]
