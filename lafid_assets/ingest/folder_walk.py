"""The files below a folder: names, sizes and times, never contents.

Belongs here: walking, and which linked folders are followed. Not here: which files are clips (`clip_names`, `listing`).
"""

import logging
import os
import stat
from array import array
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

import polars as pl

LOGGER = logging.getLogger("lafid.ingest")

FILES = {"path": pl.String, "size_bytes": pl.Int64, "mtime_ns": pl.Int64, "fault": pl.String}
NAME_NOT_UTF8 = "name_not_utf8"
LAST_TIME_NS = (1 << 63) - 1
"""In the year 2262: what a table holds of a time. Some disks and archives have later ones."""
_NAMED_LINKS = 5
_CHUNK = 100_000


def walk(root: Path, wanted: Callable[[str], bool], folders: Collection[str] | None = None) -> pl.DataFrame:
    """The files below `root` whose name is wanted, in any order; hidden files and folders are left out.

    A linked folder is followed once, unless its files are listed already or `refusal` has a reason; what is not followed, and
    what cannot be read, is told in a warning.

    Args:
        wanted: takes a file's name; others are not even asked for their size.
        folders: of the folders directly in `root`, walk these alone.

    Returns:
        frame with the columns of `FILES`, every path once, relative to `root`. Size and time are NULL where a link leads to no
        file. The `fault` `NAME_NOT_UTF8` marks a path in which the bytes that are no UTF-8 are spelled \\xNN.

    Raises:
        OSError: `root` itself cannot be read.
    """
    found = _Walk(root, wanted)
    found.descend("", folders)
    while found.links:
        links, found.links = sorted(found.links), []
        for link in links:
            found.follow(link)
    if found.left:
        more = f" and {len(found.left) - _NAMED_LINKS} more" if len(found.left) > _NAMED_LINKS else ""
        named = ", ".join(readable(text) for text in found.left[:_NAMED_LINKS])
        LOGGER.warning("not read below %s: %s%s", readable(str(root)), named, more)
    return found.files()


def refusal(root: Path, link: Path) -> str | None:
    """Why the linked folder `link` below `root` is not followed; None when it is.

    A link is followed on the word of whoever made it, so that must be the owner of `root`, the user or the superuser: in a
    folder where others may write, a link could lead to what they cannot read themselves.

    Raises:
        OSError: the link is broken.
    """
    target = os.path.realpath(link)
    if any(Path(os.path.realpath(place)).is_relative_to(target) for place in (root, link.parent)):
        return "leads back to where it lies"
    if os.lstat(link).st_uid not in {os.stat(root).st_uid, os.geteuid(), 0}:
        return "a link that somebody else made"
    return None


def linked_folders(root: Path, path: str) -> list[Path]:
    """Where the linked folders on the way from `root` to `path` really lie, up to the first that is not followed."""
    reached = []
    for parent in reversed(PurePosixPath(path).parents):
        link = root / parent
        if parent.name and link.is_symlink():
            if refusal(root, link):
                break
            reached.append(link.resolve())
    return reached


def time_ns(facts: os.stat_result) -> int:
    """When a file last changed, as tables hold it."""
    return max(-LAST_TIME_NS, min(facts.st_mtime_ns, LAST_TIME_NS))


class _Walk:
    """A walk on its way. Paths are relative to the root and may hold the surrogates that stand for foreign bytes."""

    def __init__(self, root: Path, wanted: Callable[[str], bool]) -> None:
        self._root, self._wanted = root, wanted
        self.links: list[str] = []
        self.left: list[str] = []
        self._seen: set[tuple[int, int]] = set()
        self._frames: list[pl.DataFrame] = []
        self._paths: list[str] = []
        self._sizes, self._times = array("q"), array("q")

    def descend(self, start: str, folders: Collection[str] | None = None) -> None:
        """Take up the files of `start` and below; linked folders are put aside: a file's own place goes before a link to it."""
        stack = [start]
        while stack:
            folder = stack.pop()
            place = os.path.join(self._root, folder)
            try:
                if self._is_seen(os.stat(place)):
                    continue
                with os.scandir(place) as entries:
                    below = self._read(entries, f"{folder}/" if folder else "")
            except OSError as error:
                if not folder:
                    raise
                self.left.append(f"{folder} ({error.strerror})")
                continue
            stack.extend(below if folder or folders is None else [name for name in below if name in folders])
            if not folder and folders is not None:
                self.links = [name for name in self.links if name in folders]

    def follow(self, link: str) -> None:
        """Descend into a linked folder, or say why not."""
        place = self._root / link
        try:
            cause = refusal(self._root, place)
            facts = place.stat()
        except OSError as error:
            self.left.append(f"{link} ({error.strerror})")
            return
        if cause is None and (facts.st_dev, facts.st_ino) in self._seen:
            cause = "its files are listed already"
        if cause:
            self.left.append(f"{link} ({cause})")
        else:
            self.descend(link)

    def files(self) -> pl.DataFrame:
        """What was found."""
        self._flush()
        files = pl.concat(self._frames)
        if files["fault"].is_not_null().any():  # the spelling of a faulty name may be another file's true name
            files = files.sort("fault", nulls_last=False).unique("path", keep="first", maintain_order=True)
        return files

    def _is_seen(self, facts: os.stat_result) -> bool:
        key = (facts.st_dev, facts.st_ino)
        if key in self._seen:
            return True
        self._seen.add(key)
        return False

    def _read(self, entries: "os._ScandirIterator[str]", prefix: str) -> list[str]:
        """Take up the files of one folder. Returns its folders."""
        below = []
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if entry.is_symlink():
                self._read_link(prefix + name, entry)
            elif entry.is_dir(follow_symlinks=False):
                below.append(prefix + name)
            elif self._wanted(name):
                try:
                    self._add(prefix + name, entry.stat(follow_symlinks=False))
                except FileNotFoundError:  # it went while we walked
                    continue
        return below

    def _read_link(self, path: str, entry: "os.DirEntry[str]") -> None:
        try:
            facts = entry.stat()
        except OSError as error:
            self.left.append(f"{path} (a link to nowhere: {error.strerror})")
            facts = None
        if facts is not None and stat.S_ISDIR(facts.st_mode):
            self.links.append(path)
        elif self._wanted(entry.name):
            self._add(path, facts)

    def _add(self, path: str, facts: os.stat_result | None) -> None:
        self._paths.append(path)
        self._sizes.append(facts.st_size if facts else -1)
        self._times.append(time_ns(facts) if facts else -1)
        if len(self._paths) >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        """Python's strings become a frame while they are few: a million of them would take five times the room."""
        paths, faults = self._paths, list[str | None]([None]) * len(self._paths)
        if not is_utf8("".join(paths)):
            paths = [readable(path) for path in self._paths]
            faults = [None if is_utf8(path) else NAME_NOT_UTF8 for path in self._paths]
        frame = pl.DataFrame({"path": paths, "size_bytes": self._sizes, "mtime_ns": self._times, "fault": faults}, schema=FILES)
        is_there = pl.col("size_bytes") >= 0
        self._frames.append(frame.with_columns(pl.when(is_there).then(name).alias(name) for name in ("size_bytes", "mtime_ns")))
        self._paths, self._sizes, self._times = [], array("q"), array("q")


def is_utf8(text: str) -> bool:
    """Whether a table can hold a name."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def readable(path: str) -> str:
    """A name that may be no UTF-8, spelled so that it can be shown."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
