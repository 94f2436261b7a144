"""What is at work already, and how often something was asked for: what a schedule asks before it asks for runs.

Belongs here: runs of this home, leases of all homes on the store, earlier tries, a tick under settings that cannot be used. Not
here: what is asked for (each schedule).
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

import dagster as dg

from lafid_assets.jobs import ACTIVE, WAITING, assets_of
from lafid_assets.lafid_toml.settings_file import SettingsUnusable
from model.wording import first_few
from resources.lake.lake import Lake

TRY = "lafid/try"
"""Tag of a run that a schedule asked for: `<kind> <what> <number of the try>`. Dagster keeps it, whatever becomes of the tick."""
MOST_RUNS = 1000


def waiting_runs(instance: dg.DagsterInstance) -> int:
    """Runs of this home that have not begun."""
    return instance.get_runs_count(dg.RunsFilter(statuses=list(WAITING)))


def at_work(instance: dg.DagsterInstance, lake: Lake, assets: Collection[str]) -> str:
    """Who works on these assets, in words: runs of this home, begun or queued, and other homes of the store. Empty: nobody."""
    active = instance.get_runs(dg.RunsFilter(statuses=list(ACTIVE)), limit=MOST_RUNS)
    runs = [run.run_id[:8] for run in active if assets_of(run) & set(assets)]
    if runs:
        return f"{len(runs)} runs are at work on the same assets: {first_few(runs)}"
    leases = sorted(name for name in lake.leases.names_held() if name.partition("/")[0] in assets)
    return f"another process computes {first_few(leases)}" if leases else ""


def tries(instance: dg.DagsterInstance, kind: str) -> Counter[str]:
    """`<kind> <what>` to how often schedules asked for it."""
    found = instance.get_run_tags([TRY], value_prefix=f"{kind} ")
    return Counter(value.rpartition(" ")[0] for _, values in found for value in values)


def digest(*parts: str) -> str:
    """16 hex digits: what a run is asked for changes its name with what it stands on."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def or_skip(tick: Callable[..., Any]) -> Callable[..., Any]:
    """A tick that is skipped with the line that says what is wrong with `lafid.toml`."""

    @wraps(tick)
    def guarded(*arguments: Any, **resources: Any) -> Any:
        try:
            return tick(*arguments, **resources)
        except SettingsUnusable as error:
            return dg.SkipReason(str(error))

    return guarded
