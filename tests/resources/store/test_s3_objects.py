"""What S3 answers, and whose fault it is: an object's own, or the bucket's."""

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from resources.store import s3_objects
from resources.store.s3_objects import BucketAway, NotWanted, ObjectUnreadable, fetch, list_objects, read_object, size_of
from resources.transient_errors import is_transient

Put = Any


@pytest.fixture
def put(bucket: str) -> Put:
    """Puts an object, and gives its ETag."""
    return lambda key, content: s3_objects.client().put_object(Bucket=bucket, Key=key, Body=content)["ETag"]


def _get(address: str, target: Path, etag: str | None = None, sha256: str | None = None) -> bytes:
    fetch(address, target, etag, sha256, lambda: True)
    return target.read_bytes()


def test_a_listing_goes_on_after_a_page(put: Put, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b/c", "b/d", "e"):
        put(f"set/{name}", name.encode())
    put("setting/x", b"x")
    ask = s3_objects.client().list_objects_v2
    monkeypatch.setattr(s3_objects.client(), "list_objects_v2", lambda **asked: ask(**asked, MaxKeys=2))
    listed = list(list_objects(f"s3://{bucket}/set/"))
    assert [(item.key, item.size_bytes) for item in listed] == [("set/a", 1), ("set/b/c", 3), ("set/b/d", 3), ("set/e", 1)]
    assert [item.key for item in list_objects(f"s3://{bucket}/set/", directly=True)] == ["set/a", "set/e"]


def test_an_object_is_fetched_in_the_state_and_with_the_content_that_was_asked_for(put: Put, bucket: str, tmp_path: Path) -> None:
    address, target = f"s3://{bucket}/a", tmp_path / "a"
    first = put("a", b"one")
    digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    target.write_bytes(b"taken up, and longer")
    assert _get(address, target, first, digest) == b"one"
    put("a", b"two")
    with pytest.raises(ObjectUnreadable, match=rf"^{address} has changed since it was listed: curate its prefix again$"):
        _get(address, target, first)
    with pytest.raises(ObjectUnreadable, match=rf"^{address} has changed since it was curated"):
        _get(address, target, None, digest)


def test_an_object_that_is_gone_is_its_own_fault_and_a_bucket_that_is_gone_is_nobodys(
    put: Put, bucket: str, tmp_path: Path
) -> None:
    for ask in (lambda address: _get(address, tmp_path / "x"), size_of, read_object):
        with pytest.raises(ObjectUnreadable, match="is not there any more") as gone:
            ask(f"s3://{bucket}/x")
        assert gone.value.is_missing
    with pytest.raises(BucketAway, match=r"^cannot read s3://no-such-bucket/x .*NoSuchBucket.*: check the bucket, the network"):
        _get("s3://no-such-bucket/x", tmp_path / "x")
    with pytest.raises(BucketAway) as away:
        list(list_objects("s3://no-such-bucket/"))
    assert is_transient(away.value)


def _refusal(*_: Any, **asked: Any) -> Any:
    raise ClientError({"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}, "GetObject")


def test_a_refused_object_is_its_own_fault_when_others_are_given(
    put: Put, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("set/a", b"a")
    put("set/b", b"b")
    monkeypatch.setattr(s3_objects.client(), "get_object", _refusal)
    with pytest.raises(ObjectUnreadable, match="set/a is refused, while others of its bucket are not: grant"):
        _get(f"s3://{bucket}/set/a", tmp_path / "a")
    monkeypatch.setattr(s3_objects.client(), "head_object", _refusal)
    with pytest.raises(BucketAway, match="AccessDenied"):
        _get(f"s3://{bucket}/set/a", tmp_path / "a")


def test_credentials_that_are_refused_are_no_objects_fault(
    put: Put, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def expired(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "expired"}}, "GetObject")

    put("a", b"a")
    monkeypatch.setattr(s3_objects.client(), "get_object", expired)
    with pytest.raises(BucketAway, match="ExpiredToken"):
        _get(f"s3://{bucket}/a", tmp_path / "a")


class _Breaking:
    def __init__(self, body: Any) -> None:
        self.body = body

    def iter_chunks(self, size: int) -> Any:
        yield self.body.read(2)
        raise ReadTimeoutError(endpoint_url="s3")


def test_a_fetch_that_breaks_off_is_begun_again_a_few_times(
    put: Put, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a", b"whole")
    ask, breaks = s3_objects.client().get_object, [True, True]

    def asked(**what: Any) -> Any:
        found = ask(**what)
        return {"Body": _Breaking(found["Body"])} if breaks and breaks.pop() else found

    monkeypatch.setattr(s3_objects.client(), "get_object", asked)
    assert _get(f"s3://{bucket}/a", tmp_path / "a") == b"whole"
    breaks[:] = [True] * s3_objects.TRIES
    with pytest.raises(BucketAway, match="Read timeout"):
        _get(f"s3://{bucket}/a", tmp_path / "a")


def test_nobody_waits_for_what_is_not_wanted_any_more(put: Put, bucket: str, tmp_path: Path) -> None:
    put("a", b"a")
    with pytest.raises(NotWanted):
        fetch(f"s3://{bucket}/a", tmp_path / "a", None, None, lambda: False)
