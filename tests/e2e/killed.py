"""`lafid curate` in processes that are forked from one that has imported everything already: a run costs its work alone."""

import itertools
import multiprocessing
import os
import signal
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType

import lafid_assets.cli.curate  # noqa: F401  -- what the command imports when it runs
from lafid_assets.cli.main import main
from resources.lake_connection import Begun, LakeConnection

_CONTEXT = multiprocessing.get_context("forkserver")


def begin_run(home: Path, *arguments: str, die_before_commit: int | None = None) -> ForkServerProcess:
    """A run in a session of its own that prints nothing.

    Args:
        die_before_commit: kills itself before the commit of that number: data files are written then, and no catalog names them.
    """
    _CONTEXT.set_forkserver_preload([__name__])
    run = _CONTEXT.Process(target=_run, args=(home, arguments, die_before_commit))
    run.start()
    return run


def _run(home: Path, arguments: tuple[str, ...], die_before_commit: int | None) -> None:
    os.setsid()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.environ["LAFID_HOME"] = str(home)
    sys.modules["__main__"] = ModuleType("__main__")  # or clips' children would import the tests' own
    sys.argv = ["lafid", *arguments]
    numbers, commit = itertools.count(1), LakeConnection.commit

    def commit_or_die(self: LakeConnection, begun: Begun) -> None:
        if next(numbers) == die_before_commit:
            os.kill(os.getpid(), signal.SIGKILL)
        commit(self, begun)

    LakeConnection.commit = commit_or_die  # type: ignore[method-assign]
    main()
