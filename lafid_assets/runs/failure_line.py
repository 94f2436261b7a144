"""A fault in one line: what happened, to which asset and shard, and what to do.

Belongs here: the words. Not here: where Dagster keeps them (`run_failure`), how a command prints them (`cli.errors`), which
faults pass by themselves (`resources.transient_errors`), how a clip ends (`outcomes`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from resources.postgres import refusal
from resources.secrets import without_secrets
from resources.settings import Settings

DISK_FULL = ("No space left on device", "database or disk is full", "disk I/O error")
SAYS_WHERE = re.compile(r"\bfree (some )?space (on that disk|there)")
"""Of a full disk, in words of our own: it need not be the home's."""
GPU_FULL = ("CUDA out of memory", "CUDA error: out of memory", "Failed to allocate memory for requested buffer")
OWN = ("lafid_assets", "resources", "model", "sensors")
TOLD_BY_HAND = (ValueError, OSError, RuntimeError, LookupError)
"""Python's own classes that this project raises with words of its own."""
MOST_NAMED = 5


class CheckFailed(Exception):
    """A blocking check found something; the message names the check and what it found first.

    Args:
        results: what Dagster is told of the shard all the same.
    """

    def __init__(self, message: str, results: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.results = results


class ShardsFailed(Exception):
    """Shards of a run failed, and all that could be done was done.

    Args:
        failed: shard to its line.
        of: shards of the run.
    """

    def __init__(self, failed: Mapping[str, str], of: int) -> None:
        self.failed = failed
        first, *others = failed
        named = [*others[:MOST_NAMED], *(["..."] if len(others) > MOST_NAMED else [])]
        also = f", also {', '.join(named)}" if named else ""
        super().__init__(
            f"{failed[first]} [{len(failed)} of {of} shards failed{also}: re-execute the run from failure, "
            "which computes only what failed]"
        )


def in_one_line(error: BaseException, asset: str, shard: str = "") -> str:
    """What became of an asset; an error that says so itself is not told twice."""
    if isinstance(error, ShardsFailed):
        return str(error)
    where = f"{asset} ({shard})" if shard else asset
    return f"{where} {'broke its' if isinstance(error, CheckFailed) else 'failed:'} {one_line(error)}"


def one_line(error: BaseException) -> str:
    """The thing and its remedy."""
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name} is not installed: install lafid with its extras, `pip install 'lafid[all]'`"
    text = " ".join(without_secrets(str(error)).split()) or type(error).__name__
    if not _is_told(error) and (why := refusal(text)) is not None:  # the catalog's errors say so themselves
        return f"Dagster's database (LAFID_DAGSTER_DB) takes no writes, {why}; then run it again"
    signs = [sign for sign in DISK_FULL if sign in text]  # wrapped by SQLAlchemy, DuckDB or Dagster, hence by their words
    if signs and not SAYS_WHERE.search(text):
        home = Settings.from_environment().home
        return f"the disk of the home {home} is full ({signs[0]}): free some space, or set LAFID_HOME to another disk"
    if any(sign in text for sign in GPU_FULL):
        first = text.split(". ")[0]
        return f"the GPU's memory is full ({first}): end what else uses it, or choose a smaller preset or fewer processes"
    if isinstance(error, MemoryError):
        return f"the machine's memory is full ({text}): end what else uses it, or make the shards smaller"
    return text if _is_told(error) else f"{_named(error, text)}: a fault of LaFID or of an engine, report it with its traceback"


def _is_told(error: BaseException) -> bool:
    """Whether somebody wrote the message for whoever reads it."""
    if type(error).__module__.split(".")[0] in OWN:
        return True
    return isinstance(error, TOLD_BY_HAND) and not isinstance(error, KeyError | IndexError | NotImplementedError | RecursionError)


def _named(error: BaseException, text: str) -> str:
    kind = type(error).__name__
    return kind if text == kind else f"{kind}: {text}"
