"""`lafid review`: what it refuses before it serves. The page itself: tests/ui/test_review.py."""

import getpass
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from lafid_assets.schemas import FACE_CLIPS


@pytest.fixture
def curated(publish: Any, row_of: Callable[..., dict[str, Any]]) -> None:
    publish({"face_clips": FACE_CLIPS.frame([row_of(FACE_CLIPS)])})


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The addresses at which it would have answered; it ends at once."""
    addresses: list[tuple[str, int]] = []

    def run(_: uvicorn.Server, sockets: list[socket.socket]) -> None:
        addresses.extend(listening.getsockname()[:2] for listening in sockets)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    return addresses


def test_nothing_to_look_at_is_told(lafid: Any) -> None:
    assert "run `make demo` or `lafid curate DIR` first" in lafid("review", "--no-browser").error


def test_unknown_shard_and_taken_port_are_refused(lafid: Any, curated: None, taken: int, served: list[Any]) -> None:
    assert "there is no shard 'y' that was looked at: there are x" in lafid("review", "--shard", "y").error
    assert f"port {taken} is taken by another program" in lafid("review", "--port", taken).error
    assert "nothing can listen at no.such.invalid, port 0" in lafid("review", "--host", "no.such.invalid").error
    assert lafid("review", "--port", 65536).code == 2
    assert served == []


def test_it_listens_on_this_machine_alone_and_says_whose_marks_they_are(
    lafid: Any, curated: None, served: list[tuple[str, int]], taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lafid_assets.cli.review.USUAL_PORT", taken)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    ended = lafid("review")
    [(host, port)] = served
    assert (host, port == taken, ended.err) == ("127.0.0.1", False, "")
    assert ended.out == f"Review page  http://127.0.0.1:{port}\nMarks are {getpass.getuser()}'s. Ctrl-C ends it.\n"
    assert opened == [f"http://127.0.0.1:{port}"]
    assert "Nobody can mark" in lafid("review", "--read-only", "--no-browser").out
    assert "Marks are ada's" in lafid("review", "--as", "ada", "--no-browser").out
    assert len(opened) == 1
    assert "whoever reaches 0.0.0.0 sees the clips" in lafid("review", "--host", "0.0.0.0", "--no-browser").err


def test_a_user_without_a_name_is_told_to_give_one(
    lafid: Any, curated: None, served: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert "give one with --as" in lafid("review", "--no-browser").error
    assert lafid("review", "--no-browser", "--read-only").code == 0
