"""The closed lists of endings."""

import pickle

from lafid_assets.outcomes import REASONS, ClipError, Reason, Status, is_decision


def test_every_reason_stands_with_exactly_one_status() -> None:
    listed = [reason for reasons in REASONS.values() for reason in reasons]
    assert sorted(listed) == sorted(Reason)
    assert len(listed) == len(set(listed))


def test_every_status_has_its_reasons_and_ok_has_none() -> None:
    assert set(REASONS) == set(Status)
    assert not REASONS[Status.OK]
    assert all(REASONS[status] for status in Status if status != Status.OK)


def test_every_reason_says_what_to_do() -> None:
    assert all(advice and not advice.endswith(".") for reasons in REASONS.values() for advice in reasons.values())


def test_what_was_measured_or_settled_is_a_decision_and_what_is_missing_or_failed_is_none() -> None:
    decided = {reason for status, reasons in REASONS.items() for reason in reasons if is_decision(status, reason)}
    settled = {Reason.FORGOTTEN, Reason.DUPLICATE, Reason.TOO_SHORT, Reason.SPLIT}
    assert decided == set(REASONS[Status.REJECTED]) | settled


def test_clip_error_tells_reason_and_detail() -> None:
    error = ClipError(Reason.UNREADABLE, "half a file")
    assert (error.reason, error.detail, str(error)) == (Reason.UNREADABLE, "half a file", "unreadable: half a file")


def test_reasons_cross_a_process_border() -> None:
    assert pickle.loads(pickle.dumps(Reason.CRASHED)) is Reason.CRASHED
