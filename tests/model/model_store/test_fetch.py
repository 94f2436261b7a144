"""Fetching from a server on this machine that breaks off, changes its mind, or gives something else."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import requests

from model.model_store import fetch as fetching
from model.model_store import registry
from model.model_store.fetch import FetchFailed, fetch
from model.model_store.registry import Kind, Licence, ModelEntry, ModelFile
from model.model_store.store import LicenceNotAccepted, ModelStore

WriteNetwork = Callable[..., Path]


@dataclass
class Server:
    """What the server gives, and what it was asked."""

    content: bytes
    etag: str | None = '"one"'
    ranges: bool = True
    status: int | None = None
    break_after: list[int] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server(write_network: WriteNetwork, tmp_path: Path) -> Iterator[Server]:
    content = write_network(tmp_path / "source.onnx", Kind.SCRFD).read_bytes()
    state = Server(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.asked.append(asked)
            if state.status:
                self.send_error(state.status)
                return
            start = 0
            if asked and state.ranges and self.headers.get("If-Range") == state.etag:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(state.content) - start))
            if state.etag:
                self.send_header("ETag", state.etag)
            self.end_headers()
            stop = state.break_after.pop(0) if state.break_after else len(state.content)
            self.wfile.write(state.content[start:stop])

        def log_message(self, *_: object) -> None:
            return

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{listening.server_port}/scrfd.onnx"
    thread = Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield state
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture
def models(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    """A store whose registry knows one model, `tiny`, at the server."""
    monkeypatch.setattr(registry, "REGISTRY", (_entry(server, hashlib.sha256(server.content).hexdigest()),))
    store = ModelStore(tmp_path / "models")
    store.accept(Licence.RESEARCH)
    return store


def _entry(server: Server, sha256: str | None) -> ModelEntry:
    file = ModelFile(name="scrfd.onnx", url=server.url, sha256=sha256)
    return ModelEntry(name="tiny", kind=Kind.SCRFD, files=(file,), licence=Licence.RESEARCH, source="a test", input="any")


def _stored(models: ModelStore) -> bytes:
    return (models.folder("tiny") / "scrfd.onnx").read_bytes()


def test_a_model_arrives_and_its_progress_is_told(models: ModelStore, server: Server) -> None:
    told: list[tuple[str, int, int | None]] = []
    assert fetch(models, "tiny", lambda *facts: told.append(facts)).remarks == ()
    assert _stored(models) == server.content
    assert told[-1] == ("scrfd.onnx", len(server.content), len(server.content))
    assert models.usable("tiny")
    assert not list((models.root / ".partial").iterdir())


def test_a_broken_connection_is_taken_up_where_it_broke(models: ModelStore, server: Server) -> None:
    server.break_after = [100, 250]
    fetch(models, "tiny")
    assert _stored(models) == server.content
    assert server.asked == [None, "bytes=100-", "bytes=250-"]


def test_what_came_is_kept_for_the_next_call(models: ModelStore, server: Server) -> None:
    server.break_after = [60] * fetching._ATTEMPTS
    with pytest.raises(FetchFailed, match=r"broke off 5 times, 60 bytes are there: run the same command to go on"):
        fetch(models, "tiny")
    assert not models.present("tiny")
    server.asked.clear()
    fetch(models, "tiny")
    assert server.asked == ["bytes=60-"]
    assert _stored(models) == server.content


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(
    models: ModelStore, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content, new = b"x" * len(server.content), server.content
    server.break_after = [60] * fetching._ATTEMPTS
    with pytest.raises(FetchFailed):
        fetch(models, "tiny")
    server.content, server.etag = new, '"two"'
    fetch(models, "tiny")
    assert _stored(models) == new


def test_a_server_without_ranges_or_versions_starts_over(models: ModelStore, server: Server) -> None:
    server.ranges, server.etag, server.break_after = False, None, [100]
    fetch(models, "tiny")
    assert _stored(models) == server.content
    assert server.asked == [None, None]


def test_another_file_than_the_published_one_is_thrown_away(models: ModelStore, server: Server) -> None:
    server.content = server.content + b"\0"
    with pytest.raises(FetchFailed, match="gave another file than the published one"):
        fetch(models, "tiny")
    assert not models.present("tiny")
    assert not list((models.root / ".partial" / "tiny").iterdir())


def test_an_unknown_digest_is_recorded_at_first_use(models: ModelStore, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "REGISTRY", (_entry(server, None),))
    (remark,) = fetch(models, "tiny").remarks
    assert "is recorded and held to from now on" in remark
    assert models.record("tiny").files[0].sha256 == hashlib.sha256(server.content).hexdigest()


def test_an_address_that_gives_nothing_is_named(models: ModelStore, server: Server) -> None:
    server.status = 404
    with pytest.raises(FetchFailed, match=f"{server.url} does not give it .404 .*: fetch it yourself and use `lafid models add`"):
        fetch(models, "tiny")
    assert len(server.asked) == 1


def test_nothing_is_asked_before_the_terms_are_accepted(server: Server, models: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(LicenceNotAccepted):
        fetch(ModelStore(tmp_path / "other"), "tiny")
    assert server.asked == []


def test_a_model_without_an_address_is_told_so(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    store.accept(Licence.RESEARCH)
    with pytest.raises(FetchFailed, match="arcface_mobilefacenet_foamliu has no public address: get .* yourself"):
        fetch(store, "arcface_mobilefacenet_foamliu")


def test_offline_the_way_without_the_net_is_told_in_one_short_line(models: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_net(*_: object, **__: object) -> None:
        raise requests.ConnectionError("a page of wrappers") from OSError("no such host")

    monkeypatch.setattr(fetching.requests, "get", no_net)
    with pytest.raises(FetchFailed, match=r"cannot be reached from here: get it elsewhere and use `lafid models add`") as told:
        fetch(models, "tiny")
    assert str(told.value).endswith("(no such host)")
