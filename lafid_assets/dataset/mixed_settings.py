"""Shards under different settings are no dataset, unless somebody asks for it.

Belongs here: finding the tables whose shards differ, and saying in which lines. Not here: which settings decide a table
(`Step.deciding`), what a run is told (`settings_check`).
"""

import json
from typing import Any

from lafid_assets.jobs import PER_SHARD
from lafid_assets.policy_settings import all_settings
from lafid_assets.steps.step_registry import all_steps
from lafid_assets.wording import first_few
from resources.lake.duckdb_extensions import quoted
from resources.lake.reader import Reader
from resources.lake.tables import PARTITIONS

_SHOWN = 4


class MixedSettings(ValueError):
    """Shards were measured or decided under different settings; the message names tables, shards, lines and remedy."""


def mixed(reader: Reader) -> list[str]:
    """A line for every step of a shard whose shards differ: the shards of each setting, and the lines that are said otherwise.

    Shards that were made before settings were kept say nothing.
    """
    tables = {all_steps()[asset][0].table.name: asset for asset in PER_SHARD}
    rows = reader.sql(
        f"SELECT table_name, settings_sha256, list(partition ORDER BY partition) FROM {PARTITIONS} "
        f"WHERE settings_sha256 IS NOT NULL AND table_name IN ({', '.join(map(quoted, tables))}) "
        "GROUP BY ALL ORDER BY min(partition)"
    ).rows()
    found = []
    for table, asset in tables.items():
        shards = {sha256: named for name, sha256, named in rows if name == table}
        if len(shards) > 1:
            settings = all_settings(reader)
            lines = _differing_lines([json.loads(settings[sha256]) for sha256 in shards])
            found.append(f"{asset} of {' and '.join(first_few(named, _SHOWN) for named in shards.values())}: {'; '.join(lines)}")
    return found


def refuse_mixed(reader: Reader) -> None:
    """Refuses a dataset whose tables are not all under one setting.

    Raises:
        MixedSettings: a table has several.
    """
    if told := mixed(reader):
        raise MixedSettings(
            f"the shards stand under different settings ({', '.join(line.partition(' of ')[0] for line in told)}): materialize "
            "these tables for all shards under one (`lafid settings diff` counts them, `lafid curate` does it), or set "
            f"mixed_settings of lafid_dataset. They differ in {'. '.join(told)}."
        )


def _differing_lines(settings: list[dict[str, Any]]) -> list[str]:
    """`line: a, b` for each line in which they differ; of a group of lines those of it that do."""
    names = sorted({name for said in settings for name in said})
    found = []
    for name in names:
        values = [said.get(name) for said in settings]
        groups = [value for value in values if isinstance(value, dict)]
        if len(groups) == len(values):
            found += [f"{name}.{line}" for line in _differing_lines(groups)]
        elif len(set(told := [json.dumps(value) for value in values])) > 1:
            found.append(f"{name}: {', '.join(told)}")
    return found
