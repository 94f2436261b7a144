"""The checker of kills itself: it misses no moment, and names the one after which something else is left."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kills import Killed, ends_alike, killed_at


class Writer:
    """Two files, one after the other; the second is appended to where it should be replaced."""

    def __init__(self, folder: Path, *, appends: bool) -> None:
        self.folder, self.appends = folder, appends

    def write(self, name: str) -> None:
        mode = "a" if self.appends else "w"
        with (self.folder / name).open(mode) as file:
            file.write(name)

    def note(self) -> None:
        """Something that comes after both writes."""

    def go(self) -> None:
        for name in ("first", "second"):
            self.write(name)
        self.note()


@pytest.fixture
def writers(tmp_path: Path) -> Callable[..., Callable[[], Writer]]:
    """Makes what makes a writer on an empty folder."""
    number = itertools.count()

    def make(*, appends: bool) -> Callable[[], Writer]:
        def fresh() -> Writer:
            folder = tmp_path / str(next(number))
            folder.mkdir()
            return Writer(folder, appends=appends)

        return fresh

    return make


def _files(writer: Writer) -> dict[str, str]:
    return {path.name: path.read_text() for path in writer.folder.iterdir()}


WATCHED = ((Writer, "write"), (Writer, "note"))


def test_every_call_is_a_moment(writers: Callable[..., Callable[[], Writer]]) -> None:
    assert ends_alike(writers(appends=False), Writer.go, _files, *WATCHED) == ["write", "write", "note"]


def test_what_is_done_twice_is_found_and_its_moment_named(writers: Callable[..., Callable[[], Writer]]) -> None:
    with pytest.raises(AssertionError, match="killed in place of call 1, write"):
        ends_alike(writers(appends=True), Writer.go, _files, *WATCHED)


def test_what_is_watched_but_never_called_proves_nothing(writers: Callable[..., Callable[[], Writer]]) -> None:
    with pytest.raises(AssertionError, match="nothing that is watched was called"):
        ends_alike(writers(appends=False), lambda _: None, _files, *WATCHED)


def test_no_code_that_mends_errors_catches_it_and_all_is_as_before(writers: Callable[..., Callable[[], Writer]]) -> None:
    writer = writers(appends=False)()

    def go() -> None:
        try:
            writer.go()
        except Exception:
            writer.folder.rmdir()

    with pytest.raises(Killed), killed_at(1, *WATCHED) as calls:
        go()
    assert (calls, _files(writer)) == (["write", "write"], {"first": "first"})
    writer.go()
    assert len(calls) == 2, "nothing is watched any more"
