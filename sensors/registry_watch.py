"""Aliases that move in the registry appear in Dagster. Off until somebody switches it on.

Belongs here: asking the registry by the clock, and telling Dagster what `promotions` holds. Not here: recording what moved
(`lafid_assets.release.promotion`).
"""

import json
from typing import Any

import dagster as dg

from lafid_assets.release.promotion import at_registry, known_models
from lafid_assets.schemas import PROMOTIONS, REGISTERED_MODEL
from resources.lake.lake import Lake
from resources.leases.leases import StoreBusy
from resources.tracking import Tracking, TrackingUnreachable

ASSET = dg.AssetKey(REGISTERED_MODEL.name)
TOLD = ("promotion_id", "model_name", "alias", "from_version", "to_version", "moved_at", "moved_by", "how", "why", "judgement_id")
MOST_AT_ONCE = 100


@dg.sensor(
    name="registry_watch",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Watches the aliases of registered models: what a person moves is recorded in `promotions`, and everything that "
    "stands there is reported as an observation of registered_model.",
)
def registry_watch(
    context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake], tracking: dg.ResourceParam[Tracking]
) -> dg.SensorResult | dg.SkipReason:
    """Every row of `promotions` once. The cursor is the last that was told of each model, whose rows come in order of time;
    what a tick told that died before it moved the cursor is found in Dagster's own record."""
    if not lake.is_there() or not tracking.is_there:
        return dg.SkipReason("nothing has been registered yet")
    from mlflow.exceptions import MlflowException

    try:
        for name in known_models(lake):
            with at_registry(lake, tracking, name, wait=False):
                pass
    except StoreBusy:
        return dg.SkipReason("somebody is at the aliases: the next tick looks again")
    except (TrackingUnreachable, MlflowException) as error:
        return dg.SkipReason(str(error))
    told: dict[str, str] = json.loads(context.cursor or "{}")
    rows = [row for row in _recorded(lake) if row["moved_at"] > told.get(row["model_name"], "")][:MOST_AT_ONCE]
    if not rows:
        return dg.SkipReason("no alias has moved")
    known = _known(context.instance)
    return dg.SensorResult(
        asset_events=[_observation(row) for row in rows if row["promotion_id"] not in known],
        cursor=json.dumps(told | {row["model_name"]: row["moved_at"] for row in rows}),
    )


def _recorded(lake: Lake) -> list[dict[str, Any]]:
    return lake.sql(f"SELECT {', '.join(TOLD)} FROM {PROMOTIONS.name} ORDER BY moved_at").to_dicts()


def _known(instance: dg.DagsterInstance) -> set[str]:
    """What the last tick told, which may have died since."""
    records = instance.fetch_observations(ASSET, limit=MOST_AT_ONCE).records
    found = [record.asset_observation for record in records]
    return {str(one.metadata["promotion_id"].value) for one in found if one is not None and "promotion_id" in one.metadata}


def _observation(row: dict[str, Any]) -> dg.AssetObservation:
    moved = f"{row['alias']}: {row['from_version'] or 'nobody'} -> {row['to_version'] or 'nobody'}"
    told = {name: "none" if value is None else value for name, value in row.items()}
    return dg.AssetObservation(ASSET, description=f"{moved}, {row['how']} by {row['moved_by']}", metadata=told)
