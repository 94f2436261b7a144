"""Erasing, file by file, so that a kill at any moment and another run finish it.

Belongs here: which files of the home and the store are touched, in which order, and the search afterwards. Not here: who is meant
(`subject`), one table or file (`scrub`), benches, models and the clips' own files (`elsewhere`).

Order: tombstones, tables, pictures, pictures in MLflow, every other file, cached latents, the published DuckDB file, and the
catalog's copy anew. Every file is replaced whole or not at all, and doing any of it twice changes nothing.
"""

import io
import mmap
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import polars as pl

from lafid_assets.captions.answer_cache import AnswerCache
from lafid_assets.dataset.crops import folder_of
from lafid_assets.dataset.forget.elsewhere import PICTURES, LoggedPictures, benches_with, delete_own_files, erase_logged_pictures
from lafid_assets.dataset.forget.scrub import SQLITE_MAGIC, scrub_frame, scrub_sqlite, scrub_text
from lafid_assets.dataset.forget.subject import INTENT, RawFile, Subject
from lafid_assets.dataset.forget.tables import rows_left, scrub_tables
from lafid_assets.ingest.tombstones import write_tombstones
from lafid_assets.release.bench_folder import FOLDER as BENCHES
from lafid_assets.release.evaluation_tasks import FOLDER as EVALUATIONS
from lafid_assets.release.evaluation_tasks import plain_name
from lafid_assets.review.video import FOLDER as ENCODED_CLIPS
from lafid_assets.training.cache_sweep import drop_unnamed
from lafid_assets.training.encoding import FOLDER as LATENTS
from lafid_assets.training.encoding import SHARDS_FOLDER
from model.files import whole_file
from resources.lake import catalog_copy
from resources.lake.catalog import SQLITE_FILE, TABLES_FOLDER
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.store.file_store import CACHE, FileStore
from resources.store.ledger import FOLDER as LEDGER_FOLDER
from resources.store.s3_objects import is_address
from resources.store.scratch import places_in, remove_place
from resources.tracking import Tracking
from resources.trainer.job import RUNS_FOLDER

REPORTS, ANSWERS, DEMO, STRIPS = "reports", "llm_answers", "demo", "explain"
SHOWING_PERSONS = (RUNS_FOLDER, EVALUATIONS)
"""Folders of the store whose videos and pictures bear clips' ids."""
TEXTS = frozenset({".json", ".html", ".csv", ".txt", ".log", ".toml"})
MOST_TEXT_BYTES = 256 << 20
_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{32}(\.[^.]+)?")
SQLITE_ASIDE = ("-wal", "-shm", "-journal")


class ForgetIncomplete(RuntimeError):
    """Something of the clips is still there; the message names the files."""


@dataclass
class Erased:
    """What was done, or in a dry run would be.

    Attributes:
        rewritten, removed: files; below the store relative to it, else absolute.
        pictures_to_check: pictures and videos that MLflow holds of other dataset versions; nobody can recognise them for you.
    """

    rewritten: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    pictures_to_check: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Eraser:
    """One request on one installation."""

    settings: Settings
    lake: Lake
    subject: Subject
    tracking: Tracking
    dry_run: bool

    @property
    def store(self) -> FileStore:
        """The files that are no tables."""
        return self.lake.store

    def run(self) -> Erased:
        """Do it all, or in a dry run only find out what would be done.

        Raises:
            ForgetIncomplete: a file that this cannot rewrite still names a clip.
        """
        done = Erased()
        if not self.dry_run:
            write_tombstones(self.store, self.subject.clip_ids, self.subject.contents, self.subject.intervals)
        self._remove_copies_of_the_store(done)
        self._erase_from_store(done)
        logged = erase_logged_pictures(self.subject, self.tracking, dry_run=self.dry_run)
        done.removed += logged.removed
        answers = AnswerCache(self.settings.home / ANSWERS)
        if not self.dry_run and answers.forget(self.subject.clip_ids):
            done.removed.append(str(self.settings.home / ANSWERS))
        self._remove_copies(done)
        for path in self._files():
            self._erase_from_file(path, done)
        # Shards of latents hold no names, so that nothing there can be searched for: what no list of clips names any more goes.
        done.rewritten += drop_unnamed(self.lake, self.subject.clip_ids, dry_run=self.dry_run)
        self._remove_copies_of_the_store(done)  # shards came here to be written anew
        self._copy_anew(done)
        if not self.dry_run:
            done.removed += delete_own_files(self.subject) if self.subject.delete_files else []
            self.require_gone()
        done.pictures_to_check += self._pictures_to_check(logged)
        return done

    def require_gone(self) -> None:
        """Ask every table, and search every file and every object of a remote store, for the clips' ids, hashes and captions.

        Raises:
            ForgetIncomplete: one still holds them.
        """
        tables = rows_left(self.lake, self.subject)
        self.lake.close()  # reading the catalog's file undoes the locks that an open one has on it
        files = [path for path in self._files(databases=True) if _contains(path, self.subject) or self._is_named(path)]
        left = [*tables, *map(str, files), *self._objects_left()]
        if left:
            raise ForgetIncomplete(
                f"{len(left)} files still hold something of the clips, the first {left[0]}: remove it, or end the program that "
                "writes to it, and run `lafid forget` again"
            )

    def _erase_from_store(self, done: Erased) -> None:
        done.rewritten += scrub_tables(self.lake, self.subject, dry_run=self.dry_run)
        for folder in () if self.store.is_local else (LEDGER_FOLDER, LATENTS, *SHOWING_PERSONS):
            for path in self.store.list_tree(folder):
                self._erase_from_object(path, done)
        folders = [folder_of(content) for content in self.subject.contents]
        folders += [folder_of(content, (first, last)) for content, first, last in self.subject.intervals]
        folders += [f"{REPORTS}/{version}" for version in (*self.subject.versions, "empty")]
        for folder in [*folders, *benches_with(self.store, self.subject)]:
            if self.store.list_tree(folder):
                self._act(done.removed, folder, partial(self.store.remove, folder))

    def _act(self, listed: list[str], name: object, change: Callable[[], object]) -> None:
        """List what changes, and change it, unless this is a dry run."""
        listed.append(str(name))
        if not self.dry_run:
            change()

    def _erase_from_file(self, path: Path, done: Erased) -> None:
        """A file outside the tables: a part of a ledger, a list of cached clips, a database of Dagster or MLflow, a log, a
        picture."""
        left_by_a_kill = any(_UNFINISHED.fullmatch(part) for part in path.parts)  # half of what never came to be
        if self.store.is_local and path.is_relative_to(self.store.local_path(BENCHES)) and not left_by_a_kill:
            return  # a bench stays, or has gone as a whole
        if left_by_a_kill or self._belongs_to_them(path):
            self._act(done.removed, path, path.unlink)
        elif path.suffix == ".parquet":
            if (rows := self._without_clips(path, path.stem)) is not None:
                self._act(done.rewritten, path, lambda: _write_whole(path, rows.write_parquet))
        elif _begins_with(path, SQLITE_MAGIC):
            pictures = path.is_relative_to(self.settings.dagster_home)
            in_free_pages = _contains(path, self.subject)
            if scrub_sqlite(path, self.subject, with_pictures=pictures, rebuild=in_free_pages, dry_run=self.dry_run):
                done.rewritten.append(str(path))
        elif path.stat().st_size <= MOST_TEXT_BYTES and _contains(path, self.subject):
            with suppress(UnicodeDecodeError):  # `require_gone` names it
                text = scrub_text(path.read_bytes().decode(), self.subject)
                self._act(done.rewritten, path, lambda: _write_whole(path, lambda file: file.write_text(text)))

    def _erase_from_object(self, path: str, done: Erased) -> None:
        """A file of a remote store outside the tables: a part of a ledger, a list of cached clips, what a training or an
        evaluation left. What this machine has of it is gone already."""
        name = Path(path)
        if name.suffix == ".parquet":
            if (rows := self._without_clips(self.store.read_bytes(path), name.stem)) is not None:
                rows.write_parquet(buffer := io.BytesIO())
                self._act(done.rewritten, path, lambda: self.store.write_bytes(path, buffer.getvalue()))
        elif path.startswith(SHOWING_PERSONS) and (self._names_one(name) or self._has_needle(name)):
            self._act(done.removed, path, lambda: self.store.remove(path))
        elif name.suffix in TEXTS and any(needle in (content := self.store.read_bytes(path)) for needle in self._needles):
            if name.suffix == ".html":
                self._act(done.removed, path, lambda: self.store.remove(path))
            else:
                text = scrub_text(content.decode(), self.subject).encode()
                self._act(done.rewritten, path, lambda: self.store.write_bytes(path, text))

    def _without_clips(self, content: Path | bytes, name: str) -> pl.DataFrame | None:
        """The rows of a Parquet file that is no table, without the clips; None where nothing in it is about them."""
        before = pl.read_parquet(content)
        after = scrub_frame(before, name, self.subject)
        return None if after.equals(before) else after

    def _remove_copies_of_the_store(self, done: Erased) -> None:
        """Whatever of a remote store lies on this machine: it can be fetched again."""
        copies = self.settings.home / CACHE
        if copies.is_dir():
            done.removed += [] if str(copies) in done.removed else [str(copies)]
            if not self.dry_run:
                shutil.rmtree(copies)

    def _belongs_to_them(self, path: Path) -> bool:
        """Whether the whole file is about the clips: named after one, an answer about one, the demo's, or a page of one."""
        if path.suffix == ".html" and self.store.is_local and path.is_relative_to(self.store.local_path(EVALUATIONS)):
            return _contains(path, self.subject)
        return self._is_named(path) or (path.is_relative_to(self.settings.home / DEMO) and self.subject.shown_in_demo)

    def _is_the_lakes(self, path: Path) -> bool:
        """Whether it is the catalog, its copy or a table's file."""
        if not self.store.is_local:
            return False
        own = (SQLITE_FILE, catalog_copy.COPY, TABLES_FOLDER)
        return any(path.is_relative_to(self.store.local_path(name)) for name in own)

    def _is_named(self, path: Path) -> bool:
        """Whether the path holds an id. One too short to be searched for counts only where pictures bear clips' ids."""
        ours = [self.settings.home / STRIPS, self.settings.home / ENCODED_CLIPS]
        if self.store.is_local:
            ours += [self.store.local_path(folder) for folder in SHOWING_PERSONS]
        return (self._names_one(path) and any(map(path.is_relative_to, ours))) or self._has_needle(path)

    def _names_one(self, path: Path) -> bool:
        named = {name for clip_id in self.subject.clip_ids for name in (clip_id, plain_name(clip_id))}
        return path.suffix in PICTURES | {".json", ".npy"} and (path.stem in named or path.name.partition(".")[0] in named)

    def _has_needle(self, path: Path) -> bool:
        return any(needle in path.name for needle in self.subject.needles)

    @property
    def _needles(self) -> list[bytes]:
        return [needle.encode() for needle in self.subject.needles]

    def _copy_anew(self, done: Erased) -> None:
        """The plain file of the decisions goes: writing it costs what the dataset weighs, and the next refresh does. The copy of
        the catalog stays, without them."""
        published = self.settings.published_path
        for path in (published, published.with_name(f"{published.name}.wal")):
            if path.is_file():
                self._act(done.removed, path, path.unlink)
        if self.store.exists(catalog_copy.COPY):
            self._act(done.rewritten, catalog_copy.COPY, lambda: catalog_copy.copy(self.lake))

    def _remove_copies(self, done: Erased) -> None:
        """All that was fetched, since tables are among it: nobody needs it now, and whoever does later fetches it again."""
        places = places_in(self.settings.scratch)
        for place in [] if self.dry_run else places:
            if not remove_place(place):
                raise ForgetIncomplete(f"another process reads {place}: end it, and run `lafid forget` again")
        done.removed += [str(self.settings.scratch)] if places else []

    def _objects_left(self) -> list[str]:
        """Objects of a remote store that are named after a clip, or whose text names one; pictures are known by their folders."""
        if self.store.is_local:
            return []
        paths = self.store.list_tree("")
        named = [path for path in paths if any(needle in path for needle in self.subject.needles)]
        texts = [path for path in paths if Path(path).suffix in TEXTS and path not in named]
        holding = [path for path in texts if any(needle in self.store.read_bytes(path) for needle in self._needles)]
        return [f"{self.store.uri}/{path}" for path in (*named, *holding)]

    def _pictures_to_check(self, logged: LoggedPictures) -> list[str]:
        """What MLflow holds of other runs; of a local one also what belongs to no run."""
        named = {_local_address(address): address for address in logged.to_check}
        removed = {_local_address(address) for address in logged.removed}
        files = [str(path) for path in self.settings.mlflow_artifacts.rglob("*") if path.suffix.lower() in PICTURES]
        return sorted({*named, *files} - removed)

    def _files(self, *, databases: bool = False) -> Iterator[Path]:
        """Files of the home and of a local store, but for the users' own clips and for shards of latents.

        Args:
            databases: also the lake's own, the published DuckDB file and what lies beside SQLite files.
        """
        roots = [self.settings.home, *([self.store.local_path("")] if self.store.is_local else [])]
        own = folders_of_clips(self.subject.raw_files, roots)
        seen: set[Path] = set()
        for path in sorted(path for root in roots for path in root.rglob("*")):
            if path.is_relative_to(self.settings.scratch):  # `_remove_copies`
                continue
            skipped = path.name == INTENT or path.is_symlink() or not path.is_file() or path in seen
            skipped = skipped or path.is_relative_to(self.settings.home / CACHE)  # which goes whole
            # Terabytes of latents without a name: `drop_unnamed` does what there is to do there.
            skipped = skipped or (self.store.is_local and path.is_relative_to(self.store.local_path(SHARDS_FOLDER)))
            if skipped or any(path.resolve().is_relative_to(root) for root in own):
                continue
            seen.add(path)
            aside = path.name.endswith(SQLITE_ASIDE) or self._is_the_lakes(path) or path == self.settings.published_path
            if databases or not aside:
                yield path


def folders_of_clips(files: Iterable[RawFile], roots: Sequence[Path]) -> set[Path]:
    """Folders below `roots` in which users' own clips lie (drop, sample footage), also where a moved or copied home has them now.

    When a root lies in such a folder, nothing is exempt.
    """
    found = set()
    for root in (root.resolve() for root in roots):
        for raw in files:
            if is_address(raw.clip_root):
                continue
            recorded = Path(raw.clip_root)
            moved = (root.joinpath(*recorded.parts[start:]) for start in range(1, len(recorded.parts)))
            folders = (recorded.resolve(), *(folder for folder in moved if (folder / raw.path).is_file()))
            found |= {folder for folder in folders if folder != root and folder.is_relative_to(root)}
    return found


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    with whole_file(path) as temporary:
        write(temporary)


def _local_address(address: str) -> str:
    """A path where it is one; artifacts of a local MLflow are named by URI."""
    return url2pathname(urlsplit(address).path) if address.startswith("file:") else address


def _begins_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(magic)) == magic


def _contains(path: Path, subject: Subject) -> bool:
    needles: Sequence[bytes] = [needle.encode() for needle in subject.needles]
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(needle) >= 0 for needle in needles)
