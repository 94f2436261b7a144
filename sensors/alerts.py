"""Runs that fail are told to a chat, each cause once, and when the same work gets done again. Off until somebody switches it on.

Belongs here: what to tell, and posting it. Not here: why a run failed (`lafid_assets.runs.run_failure`), looking for faults that
fail no run (`lafid_assets.health`, whose own run fails).
"""

import html
import json
import os
import urllib.error
import urllib.request
from datetime import UTC, datetime
from http.client import HTTPException

import dagster as dg

from lafid_assets.jobs import ASSETS_OF, assets_of
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.runs.run_failure import MOST_CHARACTERS, why_failed
from lafid_assets.steps.partitions import ends_of
from resources.settings import Settings
from sensors.work import or_skip

MOST_RUNS = 50
"""Runs that one tick looks at; the next tick goes on there."""
MOST_OPEN = 200
"""Causes that are remembered: of so many the oldest is told again when it comes again."""
ANSWER_S = 10.0
_ENDED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]


class NotPosted(OSError):
    """The chat did not take it. The message never holds the address, which is a secret."""


@dg.sensor(
    name="alerts",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Posts why runs failed to a webhook: each cause once, and once more when the same work got done. `alert_url_env` "
    "in [automation] of lafid.toml names the environment variable that holds the webhook's address.",
)
@or_skip
def alerts(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SensorResult | dg.SkipReason:
    """Tell what ended since the last tick. The cursor moves when the chat has taken it: what a tick that dies has told is told
    again, and nothing is forgotten."""
    named = SettingsFile.of(settings.home).general.automation.alert_url_env
    if named is None:
        return dg.SkipReason("no alert_url_env is set in [automation] of lafid.toml")
    address = os.environ.get(named)
    if not address:
        return dg.SkipReason(f"the environment variable {named} is not set: put the webhook's address into it")
    if not context.cursor:
        return dg.SensorResult(
            skip_reason="what ends from now on is told", cursor=json.dumps([datetime.now(UTC).isoformat(), {}])
        )
    since, known = json.loads(context.cursor)
    ended = context.instance.get_run_records(
        dg.RunsFilter(statuses=_ENDED, updated_after=datetime.fromisoformat(since)),
        limit=MOST_RUNS,
        order_by="update_timestamp",
        ascending=True,
    )
    if not ended:
        return dg.SkipReason("no run has ended")
    lines: list[str] = []
    for record in ended:
        lines += _told(context.instance, record.dagster_run, known)
    try:
        if lines:
            post(address, "\n".join(lines))
    except NotPosted as error:
        return dg.SkipReason(f"{error}: check {named}")
    kept = dict(list(known.items())[-MOST_OPEN:])
    return dg.SensorResult(skip_reason=f"{len(lines)} alerts", cursor=json.dumps([ended[-1].update_timestamp.isoformat(), kept]))


def post(address: str, text: str) -> None:
    """Post a body that Slack, Mattermost and Teams' workflows read.

    Raises:
        NotPosted: nobody took it.
    """
    body = json.dumps({"text": html.escape(text, quote=False)}).encode()  # in a chat, <!channel> calls everybody
    try:
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=ANSWER_S):
            return
    except urllib.error.HTTPError as error:
        raise NotPosted(f"the webhook answers {error.code}") from None
    except (ValueError, HTTPException):  # whose words hold the address
        raise NotPosted("the webhook's address is none") from None
    except OSError as error:
        raise NotPosted(f"the webhook does not answer ({getattr(error, 'reason', None) or type(error).__name__})") from None


def _told(instance: dg.DagsterInstance, run: dg.DagsterRun, known: dict[str, str]) -> list[str]:
    """The line to tell of a run, or none.

    Args:
        known: work to the cause of its last failure, of what has not got done since; brought up to date.
    """
    work = _work(run)
    before = known.pop(work, None)
    if run.is_success:
        return [f"Recovered: {work} got done ({before})"] if before is not None and before not in known.values() else []
    cause = why_failed(instance, run.run_id)[:MOST_CHARACTERS]
    is_told = cause in (before, *known.values())
    known[work] = cause
    return [] if is_told else [f"Failed: {work}: {cause} [run {run.run_id[:8]}]"]


def _work(run: dg.DagsterRun) -> str:
    """What a run was to do, whoever launched it."""
    assets = assets_of(run)
    jobs = [job for job, members in ASSETS_OF.items() if set(members) == assets]
    shards = " to ".join(dict.fromkeys(ends_of(run.tags) or ()))
    return f"{jobs[0] if jobs else ', '.join(sorted(assets)) or run.job_name} {shards}".strip()
