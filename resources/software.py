"""What of LaFID runs on this machine, so that two machines can tell whether they compute the same.

Belongs here: version, code, packages, and where they lie. Not here: who compares (`lafid_assets.runs.preflight`,
`lafid_assets.doctor`).
"""

import hashlib
import re
import sys
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, requires, version

from resources.settings import PROJECT_ROOT

SOURCES = ("lafid_assets", "model", "resources", "sensors")
CURATION = ("data", "train")
"""Extras whose packages a run works with."""
_ONE_NAME = {"onnxruntime-gpu": "onnxruntime"}
"""Two builds of one package: a machine with a GPU and one without compute the same."""
_DIGITS = 8


@dataclass(frozen=True)
class Software:
    """What decides a result beside its input and settings.

    Attributes:
        lafid: its version.
        code: hash of its files.
        packages: hash of the versions of the packages that it names.
        python: `3.11`.
    """

    lafid: str
    code: str
    packages: str
    python: str

    @classmethod
    def here(cls) -> "Software":
        """The software of this process."""
        return _here()

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in asdict(self).items())


def place() -> str:
    """Where it lies, which is the same on every machine of a cluster: the checkout and its Python."""
    return f"{PROJECT_ROOT} with {sys.executable}"


def packages(extras: tuple[str, ...] = CURATION) -> dict[str, str | None]:
    """Packages that LaFID names, of the base and of some extras, to their versions; None of one that is not installed."""
    found: dict[str, str | None] = {}
    for line in requires("lafid") or []:
        named, _, marker = line.partition(";")
        of = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        name = re.match(r"[\w.-]+", named)
        if name is not None and name[0] != "lafid" and (of is None or of[1] in extras):
            found[name[0]] = _version(name[0])
    return found


def _version(name: str) -> str | None:
    for build in (name, *(build for build, one in _ONE_NAME.items() if one == name)):
        try:
            return version(build)
        except PackageNotFoundError:
            continue
    return None


@lru_cache(maxsize=1)
def _here() -> Software:
    versions = "\n".join(f"{name} {found}" for name, found in sorted(packages().items()))
    return Software(version("lafid"), _code(), _digest(versions.encode()), f"{sys.version_info.major}.{sys.version_info.minor}")


def _code() -> str:
    digest = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((PROJECT_ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(PROJECT_ROOT).as_posix()}\0{_digest(path.read_bytes())}\n".encode())
    return digest.hexdigest()[:_DIGITS]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGITS]
