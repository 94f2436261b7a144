"""A run that fails, in Dagster's own records: its line, its tries, and what "re-execute from failure" takes in."""

from dataclasses import replace
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import JobFailureData
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.utils import make_new_run_id

from lafid_assets.runs import run_failure
from lafid_assets.runs.run_failure import FAILURE_TAG, WAITS_S, why_failed
from lafid_assets.steps.step_run import Finding
from resources.leases.leases import LeaseLost
from tests.lafid_assets.road import ENOUGH, JUDGE, ONE, THREE, TWO, Road, failure, materialized

RETRIES = dg.DagsterEventType.STEP_UP_FOR_RETRY


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the tries waited, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(run_failure, "time", SimpleNamespace(sleep=waited.append))
    return waited


def _tag(road: Road, result: dg.ExecuteInProcessResult) -> str | None:
    return road.instance.get_run_by_id(result.run_id).tags.get(FAILURE_TAG)


def test_the_line_is_in_the_step_the_tag_and_for_whoever_asks(road: Road) -> None:
    road.breaks = {ONE}
    result = road.run()
    line = f"judged ({ONE}) failed: the disk is gone"
    assert failure(result, "judged") == line == _tag(road, result) == why_failed(road.instance, result.run_id)
    [event] = result.get_step_failure_events()
    error = event.step_failure_data.error
    assert line in error.message
    assert "OSError: the disk is gone" in error.cause.message  # the cause, with its traceback, below
    assert "in compute" in "".join(error.cause.stack)


@pytest.mark.parametrize("shards", [(ONE,), (ONE, TWO, THREE)])
def test_a_secret_in_an_error_or_its_cause_is_kept_nowhere(
    three: Road, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], shards: tuple[str, ...]
) -> None:
    secret = "planted-" + "token"  # a traceback shows lines of code
    monkeypatch.setenv("MY_TOKEN", secret)

    def meanwhile(shard: str) -> None:
        try:
            raise OSError(5, f"no answer to {secret}")
        except OSError as error:
            raise RuntimeError(f"{secret} is not taken") from error

    three.meanwhile = meanwhile
    result = three.run(*shards, only=False)
    assert not result.success
    kept = [dg.serialize_value(entry) for entry in three.instance.all_logs(result.run_id)]
    assert "*** is not taken" in "".join(kept)
    assert "no answer to ***" in "".join(kept)
    assert secret not in "".join([*kept, *capfd.readouterr()])


def test_a_process_that_was_told_to_end_says_so(road: Road) -> None:
    def meanwhile(shard: str) -> None:
        raise DagsterExecutionInterruptedError

    road.meanwhile = meanwhile
    told = why_failed(road.instance, road.run().run_id)
    assert told.startswith("its process was told to end before it was done: run it again")


def test_a_killed_run_is_told_though_dagster_knows_nothing_of_it(road: Road) -> None:
    run = dg.DagsterRun(job_name="curate_shard", run_id=make_new_run_id())
    road.instance.add_run(run)
    road.instance.report_run_failed(run)  # as the daemon does when the process is gone
    assert why_failed(road.instance, run.run_id).startswith("its process was killed, or ran out of memory: run it again")
    late = dg.DagsterRun(job_name="curate_shard", run_id=make_new_run_id())
    road.instance.add_run(late)
    road.instance.report_run_failed(late, "Run timed out", JobFailureData(error=None))
    assert why_failed(road.instance, late.run_id) == "Run timed out"


def test_what_failed_outside_of_all_steps_is_told_too() -> None:
    @dg.resource
    def broken(_: dg.InitResourceContext) -> None:
        raise OSError("no such catalog")

    @dg.asset(required_resource_keys={"broken"})
    def asks() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([asks], resources={"broken": broken}, instance=instance, raise_on_error=False)
        assert why_failed(instance, result.run_id) == "OSError: no such catalog"


def test_a_broken_contract_is_the_run_s_line_and_writes_nothing(road: Road) -> None:
    road.lose = {"b"}
    result = road.run()
    assert failure(result, "judged") == (
        f"judged ({ONE}) broke its check counts_add_up: 1 clips lost, the first b; nothing of it is written"
    )
    assert {each.check_name: each.passed for each in result.get_asset_check_evaluations()} == {
        "contract": True,
        "counts_add_up": False,
    }
    assert not materialized(result, "judged")


def test_a_later_check_is_the_run_s_line_and_what_is_written_stays(road: Road) -> None:
    road.judge = replace(JUDGE, later_checks={"enough": ENOUGH})
    road.options = {"findings": lambda shard, frames: {"enough": Finding(1, "2 of 3")}}
    result = road.run()
    assert failure(result, "judged") == f"judged ({ONE}) broke its check enough: 2 of 3"
    assert materialized(result, "judged")[ONE]["computed"]
    assert road.values() == [0, 0]


def test_what_passes_is_tried_again(road: Road, waits: list[float]) -> None:
    faults = [ConnectionError("no route"), LeaseLost("taken over")]

    def meanwhile(shard: str) -> None:
        if faults:
            raise faults.pop(0)

    road.meanwhile = meanwhile
    result = road.run()
    assert result.success
    assert road.calls == [ONE] * 3
    assert waits == list(WAITS_S[:2])
    assert len([event for event in result.all_events if event.event_type == RETRIES]) == 2
    assert _tag(road, result) is None


def test_the_tries_have_an_end(road: Road, waits: list[float]) -> None:
    def meanwhile(shard: str) -> None:
        raise ConnectionError("no route")

    road.meanwhile = meanwhile
    result = road.run()
    assert failure(result, "judged") == f"judged ({ONE}) failed: no route"
    assert waits == list(WAITS_S)
    assert road.calls == [ONE] * (1 + len(WAITS_S))


@pytest.mark.parametrize("error", [ValueError("policy of another engine"), OSError(28, "No space left on device"), KeyError("x")])
def test_what_stays_wrong_is_tried_once(road: Road, waits: list[float], error: Exception) -> None:
    def meanwhile(shard: str) -> None:
        raise error

    road.meanwhile = meanwhile
    assert not road.run().success
    assert (road.calls, waits) == ([ONE], [])


def test_a_broken_contract_is_computed_once(road: Road, waits: list[float]) -> None:
    road.lose = {"b"}
    assert not road.run().success
    assert (road.calls, waits) == ([ONE], [])


def test_of_several_shards_only_what_passes_is_tried_again(three: Road, waits: list[float]) -> None:
    faults = {TWO: [ConnectionError("no route")]}

    def meanwhile(shard: str) -> None:
        if shard == THREE:
            raise ValueError("wrong for ever")
        if faults.get(shard):
            raise faults[shard].pop()

    three.meanwhile = meanwhile
    result = three.run(ONE, TWO, THREE, only=False)
    assert three.calls == [ONE, TWO, THREE, TWO, f"after {ONE}", f"after {TWO}"]
    assert waits == [WAITS_S[0]]
    assert f"judged ({THREE}) failed: wrong for ever" in failure(result, "after")
    told = materialized(result, "judged")
    assert [told[shard].get("computed") for shard in (ONE, TWO, THREE)] == [True, True, None]


def test_a_cancelled_run_goes_on_with_no_other_shard(three: Road, waits: list[float]) -> None:
    """DuckDB tells of the signal by an error of its own."""

    def meanwhile(shard: str) -> None:
        try:
            raise DagsterExecutionInterruptedError
        except DagsterExecutionInterruptedError as interrupt:
            raise RuntimeError("Query interrupted") from interrupt

    three.meanwhile = meanwhile
    assert not three.run(ONE, TWO, THREE, only=False).success
    assert (three.calls, waits) == ([ONE], [])


def test_from_failure_begins_where_a_shard_failed(three: Road) -> None:
    """The step went on with the other shards, and is one that failed all the same."""
    three.breaks = {TWO}
    result = three.run(ONE, TWO, THREE, only=False)
    run = three.instance.get_run_by_id(result.run_id)
    steps, _ = KnownExecutionState.build_resume_retry_reexecution(three.instance, parent_run=run)
    assert set(steps) == {"judged", "after"}
    plan = three.instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    assets, _ = three.instance.run_domain.get_keys_to_reexecute(run.run_id, plan)
    assert {key.to_user_string() for key in assets} == {"judged", "after"}
    three.breaks, three.calls = set(), []
    assert three.run(ONE, TWO, THREE, only=False).success
    assert three.calls == [TWO, f"after {TWO}"]
