"""Runs that were lost before they began are asked for again. Off until somebody switches it on in the UI.

Belongs here: which runs those are, and how often to ask. Not here: runs lost at work, which Dagster begins anew by itself
(`run_retries` in dagster.yaml), work that failed (`schedules`).
"""

from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.storage.tags import SYSTEM_TAG_PREFIX, WILL_RETRY_TAG
from dagster._utils.tags import get_boolean_tag_value

from lafid_assets.jobs import ACTIVE, assets_of
from lafid_assets.lafid_toml.settings_check import automation
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.runs.run_failure import FAILURE_TAG
from lafid_assets.steps.partitions import ends_of, run_tags
from resources.settings import Settings
from sensors.work import or_skip

LOST_TAG = "lafid/lost"
"""Tag of a run that was asked for again: `<id of the run that was lost first> <number of the try>`."""
LOOKS_BACK = timedelta(days=1)
MOST_RUNS = 500


@dg.sensor(
    name="lost_runs",
    target=dg.AssetSelection.all(),
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Asks again for runs that failed without having begun, since their machine or Ray's head was lost: each of them "
    "`tries` times.",
)
@or_skip
def lost_runs(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SensorResult | dg.SkipReason:
    """A run that is asked for again is so once: its key is the id of the one that was lost."""
    tries = automation(SettingsFile.of(settings.home)).tries
    since = datetime.now(UTC) - LOOKS_BACK
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    lost = [record.dagster_run for record in context.instance.get_run_records(failed, limit=MOST_RUNS) if _is_lost(record)]
    if not lost:
        return dg.SkipReason("no run was lost before it began")
    active = {_work(run) for run in context.instance.get_runs(dg.RunsFilter(statuses=list(ACTIVE)), limit=MOST_RUNS)}
    requests = [_request(run) for run in lost if _number(run) < tries and _work(run) not in active]
    return dg.SensorResult(run_requests=requests)


def _is_lost(record: dg.RunRecord) -> bool:
    run = record.dagster_run
    will_come = get_boolean_tag_value(run.tags.get(WILL_RETRY_TAG))
    return record.start_time is None and not will_come and bool(assets_of(run))


def _request(run: dg.DagsterRun) -> dg.RunRequest:
    first = run.tags[LOST_TAG].partition(" ")[0] if LOST_TAG in run.tags else run.run_id
    kept = {name: value for name, value in run.tags.items() if not name.startswith(SYSTEM_TAG_PREFIX) and name != FAILURE_TAG}
    ends = ends_of(run.tags)
    return dg.RunRequest(
        run_key=run.run_id,
        run_config=run.run_config,
        asset_selection=[dg.AssetKey(name) for name in sorted(assets_of(run))],
        tags=kept | {LOST_TAG: f"{first} {_number(run) + 1}"} | (run_tags([*dict.fromkeys(ends)]) if ends else {}),
    )


def _number(run: dg.DagsterRun) -> int:
    return int(run.tags.get(LOST_TAG, "0").rpartition(" ")[2])


def _work(run: dg.DagsterRun) -> tuple[frozenset[str], tuple[str, str] | None]:
    return frozenset(assets_of(run)), ends_of(run.tags)
