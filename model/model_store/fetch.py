"""Fetching a model from its public address: resumed where it broke off, checked, and in the store whole or not at all.

Belongs here: the transfer. Not here: what becomes of the files (`install`), what the terminal shows (`lafid_assets.cli.models`).
"""

from collections.abc import Callable
from pathlib import Path

import requests
import urllib3

from model.files import sha256_file
from model.model_store.install import Installation, install
from model.model_store.registry import ModelFile, find_entry
from model.model_store.store import ModelStore

Progress = Callable[[str, int, int | None], None]
"""Called with file name, bytes that are there, and bytes in all (None where the server does not say)."""

_PARTIAL = ".partial"
_CHUNK_BYTES = 1024**2
_ATTEMPTS = 5
_TIMEOUT_S = 30.0


class FetchFailed(OSError):
    """A model could not be fetched; the message says what is there and what to do."""


def fetch(store: ModelStore, name: str, progress: Progress | None = None) -> Installation:
    """Get a model's files and add them. What is there of a broken-off transfer is kept for the next call.

    Raises:
        ModelUnknown: the registry has no such model.
        LicenceNotAccepted: its terms were not accepted.
        FetchFailed: it has no public address, its address does not answer, or what came is not the published file.
        ModelUnfit, ModelPresent: as `install`.
    """
    entry = find_entry(name)
    store.require_accepted(entry)
    if not entry.fetchable:
        files = " ".join(file.name for file in entry.files)
        raise FetchFailed(f"{name} has no public address: get {files} yourself and run `lafid models add {name} {files}`")
    folder = store.root / _PARTIAL / name
    folder.mkdir(parents=True, exist_ok=True)
    paths = [_fetch_file(file, folder, progress) for file in entry.files]
    installation = install(store, name, paths)
    for path in paths:
        path.unlink()
    folder.rmdir()
    return installation


def _fetch_file(file: ModelFile, folder: Path, progress: Progress | None) -> Path:
    """The whole file in `folder`, checked."""
    whole, part, version = folder / file.name, folder / f"{file.name}.part", folder / f"{file.name}.version"
    if not whole.is_file():
        _transfer(file, part, version, progress)
        part.replace(whole)
        version.unlink(missing_ok=True)
    digest = sha256_file(whole)
    if file.sha256 and digest != file.sha256:
        whole.unlink()
        raise FetchFailed(f"{file.url} gave another file than the published one (sha256 {digest}, expected {file.sha256})")
    return whole


def _transfer(file: ModelFile, part: Path, version: Path, progress: Progress | None) -> None:
    """Download to `part`, going on from what is there; a broken connection is taken up again a few times."""
    fault: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            _download(file, part, version, progress)
            return
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            fault = error
        except requests.HTTPError as error:
            raise FetchFailed(f"{file.url} does not give it ({error}): fetch it yourself and use `lafid models add`") from error
    there = part.stat().st_size if part.is_file() else 0
    if not there:
        raise FetchFailed(
            f"{file.url} cannot be reached from here: get it elsewhere and use `lafid models add`, or try again ({_cause(fault)})"
        )
    raise FetchFailed(
        f"{file.url} broke off {_ATTEMPTS} times, {there} bytes are there: run the same command to go on ({_cause(fault)})"
    )


def _cause(fault: BaseException | None) -> str:
    """What lies at the bottom of a chain of exceptions, which `requests` would print as a whole."""
    while fault is not None and (deeper := fault.__cause__ or fault.__context__) is not None:
        fault = deeper
    return " ".join(str(fault).split())


def _download(file: ModelFile, part: Path, version: Path, progress: Progress | None) -> None:
    """One connection. Goes on only where the server still has the version (ETag or date) of which a part is there."""
    assert file.url is not None
    there = part.stat().st_size if part.is_file() and version.is_file() else 0
    headers = {"Accept-Encoding": "identity"}
    if there:
        headers |= {"Range": f"bytes={there}-", "If-Range": version.read_text()}
    with requests.get(file.url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()
            raise requests.ConnectionError("the part that was there is longer than the file")
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            there = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else there + int(length)
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if tag and not tag.startswith("W/"):
            version.write_text(tag)
        else:
            version.unlink(missing_ok=True)
        with part.open("ab" if there else "wb") as target:
            while chunk := response.raw.read1(_CHUNK_BYTES):  # `iter_content` would lose a chunk that breaks off
                target.write(chunk)
                there += len(chunk)
                if progress:
                    progress(file.name, there, total)
    if total is not None and there != total:
        raise requests.ConnectionError(f"{there} of {total} bytes came")
