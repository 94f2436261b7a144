"""Where `lafid.toml` lies: in the home, or in one place for all machines, with the policy files beside it.

Belongs here: that place, reading and writing what lies there. Not here: what the file says (`settings_file`).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from resources.store.file_store import FileStore

FILE = "lafid.toml"
VARIABLE = "LAFID_SETTINGS"


class SettingsUnusable(ValueError):
    """`lafid.toml` cannot be read or holds a wrong line; the message names file, section and remedy."""


@dataclass(frozen=True)
class SettingsPlace:
    """One file and what lies beside it.

    Attributes:
        address: a path, or `s3://bucket/.../lafid.toml`.
        is_shared: whether `LAFID_SETTINGS` names it. Then it must be there: a machine that does not see it would decide by
            defaults.
    """

    address: str
    is_shared: bool = False

    @classmethod
    def of(cls, home: Path) -> Self:
        """The place of an installation's file.

        Raises:
            SettingsUnusable: `LAFID_SETTINGS` names no TOML file.
        """
        if not (named := os.environ.get(VARIABLE)):
            return cls(str(home / FILE))
        if not named.endswith(".toml"):
            raise SettingsUnusable(f"{VARIABLE} is {named}: name the file itself, as {named.rstrip('/')}/{FILE}")
        return cls(named if "://" in named else str(Path(named).expanduser().absolute()), is_shared=True)

    def read(self) -> bytes | None:
        """The file; None: there is none, and every default counts.

        Raises:
            SettingsUnusable: it cannot be read, or the one of all machines is not there.
        """
        content = self.beside(self._name)
        if content is None and "://" not in self.address and os.path.lexists(self.address):
            raise SettingsUnusable(f"{self.address} is a link to a file that is not there, or no file: mend it, or take it away")
        if content is None and self.is_shared:
            raise SettingsUnusable(
                f"{VARIABLE} names {self.address}, which is not there: write it by `lafid init`, or mount what it lies on"
            )
        return content

    def beside(self, name: str) -> bytes | None:
        """A file that lies beside it; None: there is none.

        Raises:
            SettingsUnusable: it cannot be read.
        """
        try:
            return self._folder.read_bytes(name) if self._folder.exists(name) else None
        except OSError as error:
            said = str(error.__cause__ or error).splitlines()[0]
            raise SettingsUnusable(f"cannot read {name} of {self._folder.uri} ({said}): mend that, or {VARIABLE}") from error

    def write(self, text: str) -> None:
        """Write the file, which is not there yet.

        Raises:
            FileExistsError: it is.
            SettingsUnusable: nobody can tell.
            StoreUnusable: it cannot be written.
        """
        if self.beside(self._name) is not None or ("://" not in self.address and os.path.lexists(self.address)):
            raise FileExistsError(f"{self.address} is there already: change it, or move it away and run `lafid init` again")
        self._folder.write_bytes(self._name, text.encode())

    @property
    def _name(self) -> str:
        return self.address.rpartition("/")[2]

    @property
    def _folder(self) -> FileStore:
        return FileStore(self.address.rpartition("/")[0])
