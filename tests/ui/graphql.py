"""Talking to a running Dagster webserver as its own pages do."""

import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

LOCATION = {"repositoryLocationName": "lafid", "repositoryName": "__repository__"}


PATIENCE_S = 1200.0
"""More than anything takes that a test waits for, on a machine that has other work, too."""


def wait_for(ask: Callable[[], T | None], what: str) -> T:
    """The first answer that is not None."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        answer = ask()
        if answer is not None:
            return answer
        time.sleep(1.0)
    raise TimeoutError(f"{what} did not happen within {PATIENCE_S:.0f} s")


@dataclass(frozen=True)
class Webserver:
    """A Dagster webserver at an address."""

    address: str

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.address}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return dict(answer["data"])

    def materialize(self, asset: str, partition: str | tuple[str, str] | None, run_config: dict[str, Any]) -> str:
        """Launch a run as the launchpad does; its id.

        Args:
            partition: one, or the first and the last of a range.
        """
        if isinstance(partition, tuple):
            named = zip(("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"), partition, strict=True)
        else:
            named = zip(["dagster/partition"], [partition], strict=True) if partition else ()
        tags = [{"key": key, "value": value} for key, value in named]
        parameters = {
            "selector": LOCATION | {"jobName": "__ASSET_JOB", "assetSelection": [{"path": [asset]}]},
            "runConfigData": run_config,
            "executionMetadata": {"tags": tags},
        }
        launched = self.ask(
            "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {"
            " __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }"
            " ... on RunConfigValidationInvalid { errors { message } } } }",
            p=parameters,
        )["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def backfill(self, asset: str, shards: list[str]) -> str:
        """Launch a backfill of one asset as its page does; its id."""
        launched = self.ask(
            "mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {"
            " __typename ... on LaunchBackfillSuccess { backfillId } } }",
            p={"assetSelection": [{"path": [asset]}], "partitionNames": shards},
        )["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return str(launched["backfillId"])

    def runs_of_backfill(self, backfill_id: str) -> dict[str, str]:
        """Run to its status."""
        found = self.ask(
            "query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {"
            " runs(limit: 50) { runId status } } } }",
            id=backfill_id,
        )
        return {run["runId"]: run["status"] for run in found["partitionBackfillOrError"]["runs"]}

    def cancel_backfill(self, backfill_id: str) -> None:
        """As its page does."""
        cancelled = self.ask("mutation($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename } }", id=backfill_id)
        assert cancelled["cancelPartitionBackfill"]["__typename"] == "CancelBackfillSuccess", cancelled

    def terminate(self, run_id: str) -> None:
        """Cancel a run as its page does, giving it the time to end."""
        ended = self.ask("mutation($id: String!) { terminateRun(runId: $id) { __typename } }", id=run_id)
        assert ended["terminateRun"]["__typename"] == "TerminateRunSuccess", ended

    def finished_status(self, run_id: str) -> str | None:
        """The run's status once it has ended."""
        status = self.ask("query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)["runOrError"][
            "status"
        ]
        return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None

    def statuses(self, job: str) -> list[str]:
        """Of all runs of a job, the last first."""
        found = self.ask(
            "query($f: RunsFilter!) { runsOrError(filter: $f) { ... on Runs { results { status } } } }", f={"pipelineName": job}
        )
        return [run["status"] for run in found["runsOrError"]["results"]]

    def shards(self) -> list[str]:
        """As Dagster knows them."""
        found = self.ask(
            'query { assetNodes(assetKeys: [{path: ["raw_clips"]}]) { partitionKeysByDimension { partitionKeys } } }'
        )
        return list(found["assetNodes"][0]["partitionKeysByDimension"][0]["partitionKeys"])

    def start_schedule(self, name: str) -> None:
        started = self.ask(
            "mutation($s: ScheduleSelector!) { startSchedule(scheduleSelector: $s) { __typename } }",
            s=LOCATION | {"scheduleName": name},
        )
        assert started["startSchedule"]["__typename"] == "ScheduleStateResult", started

    def last_sensor_tick(self, name: str) -> dict[str, Any] | None:
        found = self.ask(
            "query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor {"
            " sensorState { ticks(limit: 1) { status skipReason runIds } } } } }",
            s=LOCATION | {"sensorName": name},
        )
        return _ended(found["sensorOrError"]["sensorState"]["ticks"])

    def last_schedule_tick(self, name: str) -> dict[str, Any] | None:
        found = self.ask(
            "query($s: ScheduleSelector!) { scheduleOrError(scheduleSelector: $s) { ... on Schedule {"
            " scheduleState { ticks(limit: 1) { status skipReason runIds } } } } }",
            s=LOCATION | {"scheduleName": name},
        )
        return _ended(found["scheduleOrError"]["scheduleState"]["ticks"])


def _ended(ticks: list[dict[str, Any]]) -> dict[str, Any] | None:
    return ticks[0] if ticks and ticks[0]["status"] != "STARTED" else None
