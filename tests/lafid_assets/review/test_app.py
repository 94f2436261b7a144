"""The review page's answers: what it shows, what it plays, and whom it refuses."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from lafid_assets.ingest.clip_prefetch import object_at
from lafid_assets.review import app
from lafid_assets.review.app import Review
from lafid_assets.review.video import EncodedClips
from lafid_assets.schemas import MARKS
from resources.lake.lake import Lake
from resources.store import s3_objects
from resources.store.scratch import remove_place
from tests.lafid_assets.review.five_clips import FAR, KEPT, NARROW, SHARD

ADDRESS = "http://127.0.0.1:3300"


@pytest.fixture
def review(curated: Lake, tmp_path: Path) -> Review:
    return Review(curated, EncodedClips(tmp_path / "home" / "review"), "ada", None, {"localhost"})


@pytest.fixture
def client(review: Review) -> Iterator[TestClient]:
    with TestClient(review.application(), base_url=ADDRESS) as client:
        yield client


def _body(client: TestClient, clip: str = NARROW, **words: object) -> dict[str, Any]:
    seen = client.get(f"/api/clips/{SHARD}/{clip}").json()["decision"]
    return {"shard": SHARD, "clip_id": clip, "seen": seen, "verdict": "right"} | words


def _own(client: TestClient) -> dict[str, str]:
    """What the page's own script sends along."""
    return {"origin": ADDRESS, "x-lafid-token": client.get("/api/about").json()["token"]}


def test_a_clip_is_shown_with_rules_tracks_and_marks(client: TestClient) -> None:
    assert client.post("/api/marks", json=_body(client, note="turns little"), headers=_own(client)).status_code == 200
    told = client.get(f"/api/clips/{SHARD}/{NARROW}").json()
    assert told["said"] == "rejected by pose_filtered_clips: pose_variation_low (pose_variation_deg 44, at least 45 asked for)"
    assert told["tracks"]["faces"]["yaw_deg"] == [0, 10, 20]
    assert told["tracks"]["identity"]["similarity"] == [1, 1, 1]
    [broken] = [rule for rule in told["rules"] if rule["broken"]]
    assert (broken["measure"], broken["demand"]) == ("pose_variation_deg", "at least 45")
    assert [(mark["marker"], mark["note"], mark["outdated"]) for mark in told["marks"]] == [("ada", "turns little", None)]
    listed = client.get("/api/clips", params={"measure": "pose_variation_deg", "within": "0.1"}).json()
    assert [(clip["clip_id"], clip["verdict"]) for clip in listed["clips"]] == [(NARROW, "right")]
    assert (listed["total"], listed["marked"]) == (1, 1)
    kept = client.get(f"/api/clips/{SHARD}/{KEPT}").json()
    assert (kept["said"], kept["person"], kept["speaking"]) == ("kept", "person-a", "on_screen")
    assert kept["tracks"]["speech"]["voice"] == [{"start_s": 0.1, "end_s": 0.4}]


def test_a_mark_is_taken_back(client: TestClient, curated: Lake) -> None:
    marked = client.post("/api/marks", json=_body(client), headers=_own(client)).json()
    assert client.post("/api/undo", json=marked, headers=_own(client)).json() == {"taken_back": True}
    assert curated.read(MARKS.name).is_empty()


def test_a_video_is_sent_in_pieces_or_encoded_anew(client: TestClient, footage: Path) -> None:
    whole = (footage / "kept.mp4").read_bytes()
    part = client.get(f"/video/{SHARD}/{KEPT}", headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content, part.headers["content-type"]) == (206, whole[100:200], "video/mp4")
    encoded = client.get(f"/video/{SHARD}/{KEPT}", params={"encoded": "1"})
    assert (encoded.status_code, encoded.content[4:8]) == (200, b"ftyp")
    assert encoded.content != whole


def test_a_clip_of_s3_is_fetched_once_for_all_pieces_and_let_go_of(
    client: TestClient, footage: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAFID_HOME", str(tmp_path / "home"))
    whole = (footage / "kept.mp4").read_bytes()
    s3_objects.client().put_object(Bucket=bucket, Key="kept.mp4", Body=whole)
    file = object_at(f"s3://{bucket}/kept.mp4", len(whole))
    monkeypatch.setattr(app, "locate", lambda *_: {KEPT: file})
    fetch, fetched = s3_objects.fetch, list[str]()
    monkeypatch.setattr(s3_objects, "fetch", lambda address, *rest: fetched.append(address) or fetch(address, *rest))
    for start in (0, 100):
        part = client.get(f"/video/{SHARD}/{KEPT}", headers={"range": f"bytes={start}-{start + 99}"})
        assert (part.status_code, part.content) == (206, whole[start : start + 100])
    assert client.get(f"/video/{SHARD}/{KEPT}", params={"encoded": "1"}).content[4:8] == b"ftyp"
    assert fetched == [file.address]
    assert remove_place(file.path.parent), "nobody holds it any more"
    s3_objects.remove_object(file.address)
    answer = client.get(f"/video/{SHARD}/{KEPT}")
    assert (answer.status_code, "is not there any more" in answer.json()["error"]) == (404, True)


def test_a_file_that_is_gone_or_changed_is_told_and_never_sent(client: TestClient, footage: Path) -> None:
    for change in (lambda: (footage / "kept.mp4").write_bytes(b"something else"), lambda: shutil.rmtree(footage)):
        change()
        for query in ("", "?encoded=1"):
            answer = client.get(f"/video/{SHARD}/{KEPT}{query}")
            assert answer.status_code == 404
            assert "gone, cannot be reached, or has changed" in answer.json()["error"]


def test_nothing_but_clips_of_the_tables_and_the_pages_own_files_is_sent(client: TestClient) -> None:
    for path in (
        f"/video/{SHARD}/../../../../etc/passwd",
        f"/video/{SHARD}/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        f"/video/{SHARD}//etc/passwd",
        "/video/nowhere/kept",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        f"/api/clips/{SHARD}/nobody",
    ):
        assert client.get(path).status_code == 404, path


def test_a_foreign_name_that_leads_here_is_refused(client: TestClient) -> None:
    foreign = ("evil.example", "evil.example:3300", "localhost.evil.example", "", "[::1", "127.0.0.1.evil.example")
    for host in foreign:
        for path in ("/", "/api/about", f"/video/{SHARD}/{KEPT}"):
            assert client.get(path, headers={"host": host}).status_code == 421, host
    for host in ("127.0.0.1:3300", "localhost:3300", "LOCALHOST", "[::1]:3300", "10.0.0.7"):
        assert client.get("/", headers={"host": host}).status_code == 200, host


def test_no_other_page_can_mark_or_take_back(client: TestClient, curated: Lake) -> None:
    mark_id = client.post("/api/marks", json=_body(client), headers=_own(client)).json()["mark_id"]
    body, own = _body(client, KEPT), _own(client)
    for without in (
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:3301"},
        {"origin": "null"},
        {"origin": ""},
        {"x-lafid-token": "guessed"},
        {"x-lafid-token": ""},
        {"x-lafid-token": "\u00e9"},
    ):
        headers = {name: value.encode("latin-1") for name, value in (own | without).items()}
        assert client.post("/api/marks", json=body, headers=headers).status_code == 403, without
        assert client.post("/api/undo", json={"mark_id": mark_id}, headers=headers).status_code == 403, without
    assert curated.read(MARKS.name)["mark_id"].to_list() == [mark_id]
    assert client.get("/api/marks").status_code == 405


def test_every_answer_forbids_foreign_scripts(client: TestClient) -> None:
    for path in ("/", "/static/review.js", "/api/about", "/nowhere", f"/video/{SHARD}/{KEPT}"):
        told = client.get(path).headers
        policy = told["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert (told["x-content-type-options"], told["cross-origin-resource-policy"]) == ("nosniff", "same-origin")
        assert "access-control-allow-origin" not in told


def test_captions_of_strangers_are_texts(client: TestClient) -> None:
    """The page holds no word of a clip; JSON cannot be read as HTML."""
    answer = client.get(f"/api/clips/{SHARD}/{FAR}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["caption"] == "<b>bold</b> captions"
    script = "".join(client.get(f"/static/{name}.js").text for name in ("review", "tracks"))
    assert not [way for way in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "srcdoc") if way in script]
    page = client.get("/").text
    assert "http:" not in page
    assert "https:" not in page
    assert " style=" not in page


def test_a_body_that_is_no_mark_is_refused_by_name(client: TestClient) -> None:
    body, own = _body(client), _own(client)
    for change, message in (
        ({"verdict": "perhaps"}, "verdict"),
        ({"extra": 1}, "extra"),
        ({"fault": "ugly"}, "no fault 'ugly'"),
        ({"seen": {"status": "kept"}}, "seen"),
        ({"note": "x" * 20_000}, "more than 16384 bytes"),
    ):
        answer = client.post("/api/marks", json=body | change, headers=own)
        assert answer.status_code in (400, 413)
        assert message in answer.json()["error"]
    assert client.post("/api/marks", content=b"{", headers=own).status_code == 400


def test_a_mark_on_what_was_decided_anew_is_refused(client: TestClient, decide_anew: Callable[[str, str], None]) -> None:
    body = _body(client)
    decide_anew(NARROW, "reason = 'several_faces'")
    answer = client.post("/api/marks", json=body, headers=_own(client))
    assert (answer.status_code, "decided anew" in answer.json()["error"]) == (409, True)


def test_unknown_filters_are_refused(client: TestClient) -> None:
    for asked in ({"status": "lost"}, {"measure": "beauty"}, {"within": "-1"}, {"sql": "1"}):
        answer = client.get("/api/clips", params=asked)
        assert answer.status_code == 400
        assert next(iter(asked)) in answer.json()["error"]


def test_read_only_and_one_shard(curated: Lake, tmp_path: Path) -> None:
    encoded = EncodedClips(tmp_path / "review")
    with TestClient(Review(curated, encoded, None, None, ()).application(), base_url=ADDRESS) as viewer:
        body, headers = _body(viewer), _own(viewer)
        assert viewer.get("/api/about").json()["marker"] is None
        for path in ("/api/marks", "/api/undo"):
            assert viewer.post(path, json=body, headers=headers).status_code == 404
    assert curated.read(MARKS.name).is_empty()
    with TestClient(Review(curated, encoded, "ada", "another", ()).application(), base_url=ADDRESS) as other:
        assert other.get("/api/clips", params={"shard": SHARD}).json()["total"] == 0
        for path in ("api/clips", "video"):
            assert other.get(f"/{path}/{SHARD}/{KEPT}").status_code == 404


def test_a_lake_from_before_there_were_marks_is_told_and_is_no_fault(
    client: TestClient, curated: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    curated.commit(lambda writer: writer.cursor.execute(f"DROP TABLE {MARKS.name}"))
    answer = client.get("/api/clips")
    assert (answer.status_code, "once without --read-only" in answer.json()["error"]) == (503, True)
    assert caplog.records == []


def test_a_fault_of_the_server_shows_no_inside(client: TestClient, review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lafid_assets.review.app.read_clip", lambda *_: json.loads("{secret"))
    answer = client.get(f"/api/clips/{SHARD}/{KEPT}")
    assert (answer.status_code, answer.json()) == (500, {"error": "JSONDecodeError: see the terminal"})
