"""Are all tables decided by what `lafid.toml` says now?

Belongs here: the settings of a version, of its shards and of the file -> judgement. Not here: refusing a dataset of shards under
different settings (`dataset.mixed_settings`), showing all lines (`cli.settings`).
"""

from collections.abc import Sequence

import polars as pl

from lafid_assets.checks.judged import Judged

_SHOWN = 3


def settings_differ(lines: Sequence[str], mixed: Sequence[str], waits: pl.DataFrame) -> Judged:
    """The dataset's settings, and those of all shards, against the file's.

    Args:
        lines: which the file says otherwise than the dataset's run was told, as `settings_check.differing` gives them.
        mixed: the tables whose shards are under several settings, as `mixed_settings.mixed` gives them.
        waits: as `waiting.what_waits` gives it.
    """
    otherwise = waits.filter("by_settings").height
    told = [f"lafid.toml says otherwise than the dataset was made by: {_listed(lines)}"] if lines else []
    told += [f"the shards stand under different settings: {_listed(mixed)}"] if mixed else []
    told += [f"{otherwise} tables would be decided otherwise now: `lafid settings diff` counts them"] if otherwise else []
    figures = {"lines_that_differ": len(lines), "tables_of_mixed_settings": len(mixed), "decided_otherwise": otherwise}
    return Judged(not told, "; ".join(told) or "all tables are decided by what lafid.toml says", figures)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
