"""A child that gave no answer is its clip's outcome, in words that say what happened."""

import pytest

from lafid_assets.outcomes import REASONS, Reason
from lafid_assets.workers.exit_reasons import fault_of
from lafid_assets.workers.pool import Crashed, Failed, OutOfMemory, TimedOut


@pytest.mark.parametrize(
    ("ending", "reason", "told"),
    [
        (Failed("ValueError: no such luck"), Reason.ENGINE_FAILED, "ValueError: no such luck"),
        (Crashed(-11), Reason.CRASHED, "exit code -11"),
        (TimedOut(7.0), Reason.DEADLINE, "not finished after 7 s of computing, or of doing nothing"),
        (OutOfMemory(5 << 20), Reason.MEMORY_LIMIT, "more memory than 5 MiB"),
        (OutOfMemory(None), Reason.MEMORY_LIMIT, "more memory than there is"),
    ],
)
def test_every_ending_has_its_reason(ending: Failed | Crashed | TimedOut | OutOfMemory, reason: Reason, told: str) -> None:
    fault = fault_of(ending)
    assert fault.reason == reason
    assert reason in REASONS[fault.status]
    assert told in fault.detail
