"""How a run fails in Dagster: its line where pages, commands and alerts find it, its cause below, and tries that can help.

Belongs here: Dagster's side of a failure. Not here: the words (`failure_line`), what passes by itself
(`resources.transient_errors`).
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import JobFailureData
from dagster._core.execution.plan.objects import StepFailureData, UserFailureData
from dagster._utils.error import serializable_error_info_from_exc_info

from lafid_assets.runs.failure_line import CheckFailed, ShardsFailed, in_one_line, one_line
from lafid_assets.runs.preflight import refuse_other_software
from resources.secrets import without_secrets
from resources.transient_errors import chain, is_transient

LOGGER = logging.getLogger("lafid.run")
FAILURE_TAG = "lafid/failure"
"""Of a failed run: its line, which the list of runs shows."""
NO_FAILURE = "none"
MOST_CHARACTERS = 500
"""Of the tag; the step's failure holds all."""
AGAIN = "run it again, which computes only what is missing"
WAITS_S = (2.0, 10.0, 30.0)
"""Seconds before each further try of what passes by itself."""


class RunFailed(dg.Failure):
    """What a run's pages show first, hence without Dagster's long name before the line."""

    __module__ = "builtins"


def reported(
    context: dg.AssetExecutionContext, asset: str, work: Callable[[], dg.MaterializeResult]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """What an asset tells Dagster: what `work` returns, or the run's failure in one line. What passes by itself is tried again.

    Raises:
        RunFailed: for every error, which stays as its cause.
        dg.RetryRequested: there are tries left. The wait is over then: Dagster waits where a cancelled run could not end.
    """
    shards = list(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else []
    shard = shards[0] if len(shards) == 1 else ""
    try:
        result = work()
    except Exception as error:
        raise_interrupt(error)
        hide_secrets(error)
        if isinstance(error, CheckFailed):
            yield from error.results
        _try_again(context, error, in_one_line(error, asset, shard))
        line, more = _line(error, asset, shard)
        _tag(context, line)
        told = dict(error.metadata) if isinstance(error, dg.Failure) else _shards(error)
        cause = None if isinstance(error, CheckFailed | ShardsFailed) else error  # these say no more than the line
        raise RunFailed("\n".join([line, *more]), metadata=told, allow_retries=False) from cause
    yield result


@contextmanager
def told_in_one_line(context: dg.OpExecutionContext) -> Iterator[None]:
    """Where a job that is no asset works: its run fails as an asset's does, and is refused by a node that runs another LaFID.

    Raises:
        RunFailed, dg.RetryRequested: as `reported`.
    """
    try:
        refuse_other_software(context.run.tags)
        yield
    except Exception as error:
        raise_interrupt(error)
        hide_secrets(error)
        line = one_line(error)
        _try_again(context, error, line)
        _tag(context, line)
        raise RunFailed(line, allow_retries=False) from error


def hide_secrets(error: Exception) -> None:
    """Take secrets out of the error and of what it was raised from: Dagster keeps all their words, below the line."""
    for cause in chain(error):
        cause.args = tuple(without_secrets(said) if isinstance(said, str) else said for said in cause.args)
        if isinstance(cause, OSError) and isinstance(cause.strerror, str):
            cause.strerror = without_secrets(cause.strerror)


def raise_interrupt(error: Exception) -> None:
    """Raise the interrupt of a cancelled run that DuckDB, or another library, has made an error of its own."""
    for cause in chain(error):
        if not isinstance(cause, Exception):
            raise cause


def can_be_tried_again(context: dg.AssetExecutionContext | dg.OpExecutionContext, error: Exception) -> bool:
    """Whether that can help, and has not been done often enough."""
    passes = error.allow_retries if isinstance(error, dg.Failure) else is_transient(error)
    return passes and context.retry_number < len(WAITS_S)


def record_shard_failure(context: dg.AssetExecutionContext, line: str) -> None:
    """Keep the error that is being handled as the step's failure, though the step goes on with its other shards: "re-execute from
    failure" then begins with this step."""
    failure = UserFailureData(label="shard", description=line)
    told = StepFailureData(error=serializable_error_info_from_exc_info(sys.exc_info()), user_failure_data=failure)
    dg.DagsterEvent.step_failure_event(context.get_step_execution_context(), told, message=line)


def why_failed(instance: dg.DagsterInstance, run_id: str) -> str:
    """The line of a run that failed, in a step or outside of all steps."""
    failures = instance.all_logs(run_id, of_type={dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE})
    events = [entry.dagster_event for entry in failures if entry.dagster_event is not None]
    steps = [event.step_failure_data for event in events if event.is_step_failure]
    for step in reversed(steps):  # the last one knows of all shards
        if step.user_failure_data is not None and step.user_failure_data.description:
            return step.user_failure_data.description.splitlines()[0]
    of_run = [event.event_specific_data for event in events if event.is_job_failure]  # None: nobody was left to say anything
    for error in [step.error for step in steps] + [told.error for told in of_run if isinstance(told, JobFailureData)]:
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None and error.cls_name == DagsterExecutionInterruptedError.__name__:
            return f"its process was told to end before it was done: {AGAIN}"
        if error is not None and error.message.strip():
            return without_secrets(" ".join(error.message.strip().splitlines()[0].split()))
    return (
        events[-1].message if events and None not in of_run else None
    ) or f"its process was killed, or ran out of memory: {AGAIN}"


def _try_again(context: dg.AssetExecutionContext | dg.OpExecutionContext, error: Exception, line: str) -> None:
    if can_be_tried_again(context, error):
        wait_s = WAITS_S[context.retry_number]
        LOGGER.warning("%s: tried again in %.0f s", line, wait_s)
        time.sleep(wait_s)
        raise dg.RetryRequested(max_retries=len(WAITS_S)) from error


def _line(error: Exception, asset: str, shard: str) -> tuple[str, list[str]]:
    """A trainer tells more than a line: the last ones of its log."""
    if not isinstance(error, dg.Failure):
        return in_one_line(error, asset, shard), []
    first, *more = without_secrets(error.description or "no message").splitlines()
    return in_one_line(RuntimeError(first), asset, shard), more


def _shards(error: Exception) -> dict[str, dg.MetadataValue]:
    if not isinstance(error, ShardsFailed):
        return {}
    records = [dg.TableRecord({"shard": shard, "why": why}) for shard, why in error.failed.items()]
    return {"failed": dg.MetadataValue.table(records)}


def _tag(context: dg.AssetExecutionContext | dg.OpExecutionContext, line: str) -> None:
    cut = line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 3] + "..."
    context.instance.add_run_tags(context.run_id, {FAILURE_TAG: cut})
