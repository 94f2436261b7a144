"""The folder that keeps third-party weights: what is present, and whether its terms were accepted.

Belongs here: reading the store, its records and its licence book. Not here: bringing models in (`install`, `fetch`).

    <root>/<model>/<files>               as their publisher names them
    <root>/<model>/record.json           what each file is, and its sha256 at arrival
    <root>/accepted_licences.json        which terms were accepted, and when
"""

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from pydantic import Field, ValidationError

from model.files import sha256_file, write_whole
from model.model_store.registry import TERMS, Kind, Licence, ModelEntry, find_entry
from model.strict import StrictModel

RECORD = "record.json"
LICENCES = "accepted_licences.json"


class ModelMissing(FileNotFoundError):
    """A model is not in the store; the message says where it goes and how to add it."""


class LicenceNotAccepted(PermissionError):
    """A model's terms were not accepted; the message says how to."""


class StoreDamaged(ValueError):
    """A file of the store cannot be read as what it should be; the message names it and the remedy."""


class StoredFile(StrictModel):
    """One file of a model, as it arrived."""

    name: str = Field(description="File name in the model's folder")
    sha256: str = Field(description="Hex digest at arrival")
    size_bytes: int = Field(description="Size at arrival")
    kind: Kind | None = Field(description="What network it is; None for source weights and for what is not run")
    embedding_dim: int | None = Field(None, description="Width of the embedding, of an ArcFace network")


class Record(StrictModel):
    """What the store knows of a model that is present."""

    name: str
    files: tuple[StoredFile, ...]


class Licences(StrictModel):
    """Which terms were accepted."""

    accepted: dict[Licence, datetime] = Field(default_factory=dict, description="Licence to the time of acceptance")


class InstalledModel:
    """A model that is present and may be used."""

    def __init__(self, entry: ModelEntry, folder: Path, record: Record) -> None:
        self.entry = entry
        self.folder = folder
        self.record = record

    def networks(self, kind: Kind) -> list[tuple[Path, StoredFile]]:
        """Paths and facts of its networks of that kind, by name."""
        found = sorted((file for file in self.record.files if file.kind is kind), key=lambda file: file.name)
        return [(self.folder / file.name, file) for file in found]


class ModelStore:
    """The models of one installation."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str) -> Path:
        """Where the model of that name lies, or would."""
        return self.root / name

    def present(self, name: str) -> bool:
        """Whether the model is there, accepted or not."""
        return (self.folder(name) / RECORD).is_file()

    def usable(self, name: str) -> bool:
        """Whether the model is there and its terms are accepted."""
        return self.present(name) and self.accepted(find_entry(name).licence)

    def record(self, name: str) -> Record:
        """What was recorded when the model arrived.

        Raises:
            ModelUnknown: the registry has no such model.
            ModelMissing: it is not in the store.
            StoreDamaged: its record cannot be read.
        """
        entry = find_entry(name)
        path = self.folder(name) / RECORD
        try:
            return Record.model_validate_json(path.read_text())
        except FileNotFoundError:
            raise ModelMissing(_missing(entry, self.folder(name))) from None
        except ValidationError as error:
            raise StoreDamaged(f"{path} is damaged: delete {path.parent} and add {name} again") from error

    def require(self, name: str) -> InstalledModel:
        """The model, ready to use.

        Raises:
            ModelUnknown: the registry has no such model.
            ModelMissing: it is not in the store.
            LicenceNotAccepted: its terms were not accepted.
            StoreDamaged: a file is not the one that arrived.
        """
        entry, record = find_entry(name), self.record(name)
        self.require_accepted(entry)
        for file in record.files:
            path = self.folder(name) / file.name
            if _sha256(path) != file.sha256:
                raise StoreDamaged(f"{path} is not the file that was added: delete {path.parent} and add {name} again")
        return InstalledModel(entry, self.folder(name), record)

    def accepted(self, licence: Licence) -> bool:
        """Whether weights under that licence may be used here."""
        return not licence.needs_acceptance or licence in self.licences.accepted

    def require_accepted(self, entry: ModelEntry) -> None:
        """
        Raises:
            LicenceNotAccepted: the model's terms were not accepted.
        """
        if not self.accepted(entry.licence):
            raise LicenceNotAccepted(
                f"{entry.name} comes under {entry.licence} ({TERMS[entry.licence]}) "
                f"To accept: lafid models accept {entry.licence}"
            )

    def accept(self, licence: Licence, when: datetime | None = None) -> None:
        """Record once that the terms are accepted; the first acceptance stands. `when`: now, unless given."""
        licences = self.licences
        if licence in licences.accepted:
            return
        book = Licences(accepted={**licences.accepted, licence: when or datetime.now(UTC).replace(microsecond=0)})
        write_whole(self.root / LICENCES, book.model_dump_json(indent=2) + "\n")

    def verify(self, name: str) -> list[str]:
        """What is wrong with the model's files, one line each; none where every byte is as it arrived.

        Raises:
            ModelMissing: the model is not in the store.
        """
        problems = []
        for file in self.record(name).files:
            path = self.folder(name) / file.name
            if not path.is_file():
                problems.append(f"{path} is missing")
            elif sha256_file(path) != file.sha256:
                problems.append(f"{path} has changed since it was added")
        return problems

    @property
    def licences(self) -> Licences:
        """The terms that were accepted here.

        Raises:
            StoreDamaged: the book cannot be read.
        """
        path = self.root / LICENCES
        if not path.is_file():
            return Licences()
        try:
            return Licences.model_validate_json(path.read_text())
        except ValidationError as error:
            raise StoreDamaged(f"{path} is damaged: delete it and accept the licences again") from error


def _sha256(path: Path) -> str | None:
    """Digest of a file, computed once a process as long as its size and time stay; None where there is none."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return _sha256_of_version(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256_of_version(path: Path, size_bytes: int, modified_ns: int) -> str:
    return sha256_file(path)


def _missing(entry: ModelEntry, folder: Path) -> str:
    files = " ".join(file.name for file in entry.files)
    fetch = f"`lafid models fetch {entry.name}`, or offline " if entry.fetchable else ""
    return f"the model {entry.name} ({entry.task}) is missing from {folder}: run {fetch}`lafid models add {entry.name} {files}`"
