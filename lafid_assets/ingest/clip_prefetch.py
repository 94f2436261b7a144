"""Clips' files on this machine when it is their turn: those that lie on S3 are fetched ahead of it, and go when it is over.

Belongs here: whose turn it is, and what becomes of a clip whose file cannot be fetched. Not here: the folder of fetched files
(`resources.store.scratch`), where a clip's content lies (`locate`), children (`workers`). A local file is at hand by itself.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.outcomes import ClipError, Reason
from lafid_assets.workers.pool import Children, Ending, NotFetched, map_isolated
from model.encoding.footage import Footage, RemoteFile, file_of, source_of
from resources.settings import Settings
from resources.store.s3_objects import ObjectUnreadable
from resources.store.scratch import Held, Scratch, object_below

Task = TypeVar("Task")
Result = TypeVar("Result")

FETCHED_AT_ONCE = 4
MOST_AHEAD = 8
"""Files that are fetched, or wait for a child, before it is their turn."""


def scratch() -> Scratch:
    """This home's folder of fetched files, as its `lafid.toml` bounds it."""
    settings = Settings.from_environment()
    return Scratch(settings.scratch, SettingsFile.of(settings.home).general.sources.scratch_gb * 1e9)


def object_at(
    address: str, size_bytes: int | None = None, etag: str | None = None, content_sha256: str | None = None
) -> RemoteFile:
    """An object, as `RemoteFile` says, and where it lies while somebody holds it."""
    return object_below(Settings.from_environment().scratch, address, size_bytes, etag, content_sha256)


@contextmanager
def at_hand(footage: Footage, *, keep: bool = False) -> Iterator[Path]:
    """The file in which footage lies, on this machine for as long as the block takes.

    Args:
        keep: as of `map_footage`.

    Raises:
        ClipError: its object cannot be had, and others can.
        BucketAway: nothing of its bucket can be had.
    """
    source = source_of(footage)
    if not isinstance(source, RemoteFile):
        yield file_of(footage)
        return
    folder = scratch()
    try:
        held = folder.hold(source)
    except ObjectUnreadable as error:
        raise ClipError(Reason.NOT_FETCHED, str(error)) from error
    try:
        yield source.path
    finally:
        folder.release(held, keep=keep)


def map_footage(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    deadline_s: Callable[[Task], float],
    children: Children | None = None,
    *,
    footage_of: Callable[[Task], Footage | None],
    keep: bool = False,
) -> Iterator[tuple[int, Ending[Result]]]:
    """`map_isolated` of tasks that open footage: each begins when its file is here, and no child's time is spent on fetching.

    Args:
        footage_of: what a task opens; None: nothing.
        keep: fetched files stay for the step that comes next, as long as there is room; else each goes after its last turn.

    Yields:
        as `map_isolated`; `NotFetched` of a clip whose object cannot be had.

    Raises:
        BucketAway: nothing of a bucket can be had.
    """
    sources = [None if footage is None else source_of(footage) for footage in map(footage_of, tasks)]
    if not any(isinstance(source, RemoteFile) for source in sources):
        yield from map_isolated(work, tasks, deadline_s, children)
        return
    with _Ahead(scratch(), sources, keep=keep) as ahead:
        for index, ending in map_isolated(work, tasks, deadline_s, children, ahead):
            yield index, ending
            ahead.release(index)
            yield from ahead.refused()
        yield from ahead.refused()


def drop(files: Iterable[Footage]) -> None:
    """Remove fetched files that nobody holds."""
    remote = {source for source in map(source_of, files) if isinstance(source, RemoteFile)}
    folder = scratch() if remote else None
    for file in remote:
        assert folder is not None
        folder.drop(file)


class _Ahead:
    """The tasks' files on their way: a `workers.Supply`. A task whose file is late holds up no other, or several large files
    could wait for each other's room."""

    def __init__(self, folder: Scratch, sources: Sequence[Path | RemoteFile | None], *, keep: bool) -> None:
        self._folder, self._sources, self._keep = folder, sources, keep
        self._waiting = deque(range(len(sources)))
        self._coming: dict[int, Future[Held | None]] = {}
        self._held: dict[int, Held] = {}
        self._left = Counter(source for source in sources if isinstance(source, RemoteFile))
        self._refused: list[tuple[int, NotFetched]] = []
        self._is_over = threading.Event()
        self._pool = ThreadPoolExecutor(FETCHED_AT_ONCE, thread_name_prefix="fetch")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_over.set()
        self._pool.shutdown(cancel_futures=True)
        for future in self._coming.values():
            if not future.cancelled() and future.exception() is None and (held := future.result()) is not None:
                self._folder.release(held, keep=True)
        for held in self._held.values():
            self._folder.release(held, keep=True)

    @property
    def left(self) -> bool:
        """Whether a task was not given out yet."""
        return bool(self._waiting or self._coming)

    def next(self) -> int | None:
        """A task whose file is here."""
        while self._waiting and len(self._coming) < MOST_AHEAD:
            index = self._waiting.popleft()
            self._coming[index] = self._pool.submit(self._fetch, self._sources[index])
        for index, future in list(self._coming.items()):
            if not future.done():
                continue
            del self._coming[index]
            try:
                held = future.result()
            except ObjectUnreadable as error:
                self._refused.append((index, NotFetched(str(error), error.is_missing)))
                continue
            if held is not None:
                self._held[index] = held
            return index
        return None

    def release(self, index: int) -> None:
        """The task is over."""
        if (held := self._held.pop(index, None)) is not None:
            self._left[held.file] -= 1
            self._folder.release(held, keep=self._keep or self._left[held.file] > 0)

    def refused(self) -> Iterator[tuple[int, NotFetched]]:
        """Tasks whose file cannot be had, each once."""
        while self._refused:
            yield self._refused.pop()

    def _fetch(self, source: Path | RemoteFile | None) -> Held | None:
        return self._folder.hold(source, lambda: not self._is_over.is_set()) if isinstance(source, RemoteFile) else None
