"""The closed lists of endings."""

import pickle

from lafid_assets.outcomes import REASONS, ClipError, Reason, Status


def test_every_reason_stands_with_exactly_one_status() -> None:
    listed = [reason for reasons in REASONS.values() for reason in reasons]
    assert sorted(listed) == sorted(Reason)
    assert len(listed) == len(set(listed))


def test_every_status_has_its_reasons_and_ok_has_none() -> None:
    assert set(REASONS) == set(Status)
    assert REASONS[Status.OK] == frozenset()
    assert all(REASONS[status] for status in Status if status != Status.OK)


def test_clip_error_tells_reason_and_detail() -> None:
    error = ClipError(Reason.UNREADABLE, "half a file")
    assert (error.reason, error.detail, str(error)) == (Reason.UNREADABLE, "half a file", "unreadable: half a file")


def test_reasons_cross_a_process_border() -> None:
    assert pickle.loads(pickle.dumps(Reason.CRASHED)) is Reason.CRASHED
