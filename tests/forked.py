"""A plugin of the tests: fresh processes of Python that have imported already what collecting the tests imports.

Importing torch, diffusers and the rest costs more than most of what such a process does. So this process forks itself once, when
it has collected and has run nothing; the one that it leaves behind forks another for every script that a test wants to run.
"""

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

_PATIENCE_S = 1500
_server = pytest.StashKey["_Server"]()


@dataclass(frozen=True)
class Ended:
    """Of one process: its exit code, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Fresh = Callable[..., list[Ended]]


@dataclass
class _Server:
    """The process that forks, as seen from this one. A line asks it for processes, and a line says how these ended."""

    process: int
    line: socket.socket

    def ask(self, asked: Mapping[str, Any]) -> list[int]:
        self.line.sendall(json.dumps(asked).encode() + b"\n")
        with self.line.makefile("rb") as answers:
            codes = answers.readline()
        assert codes, "the process that forks others is gone"
        return list(json.loads(codes))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    if any("fresh_processes" in getattr(item, "fixturenames", ()) for item in session.items):
        ours, theirs = socket.socketpair()
        if not (process := os.fork()):
            ours.close()
            _serve(theirs)
        theirs.close()
        ours.settimeout(_PATIENCE_S)
        session.config.stash[_server] = _Server(process, ours)


def pytest_unconfigure(config: pytest.Config) -> None:
    if server := config.stash.get(_server, None):
        server.line.close()
        os.killpg(server.process, signal.SIGKILL)  # with what a test that failed may have left behind
        os.waitpid(server.process, 0)


@pytest.fixture(scope="session")
def fresh_processes(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """Runs a script beside itself, once for each environment, as `python -c` would; gives how each ended."""
    server = pytestconfig.stash[_server]

    def run(
        script: str, *arguments: object, environments: Sequence[Mapping[str, str]] = ({},), cwd: Path | None = None
    ) -> list[Ended]:
        folder = tmp_path_factory.mktemp("fresh")
        asked = {
            "script": script,
            "arguments": [str(argument) for argument in arguments],
            "environments": [{**os.environ, **more} for more in environments],
            "cwd": str(cwd or Path.cwd()),
            "folder": str(folder),
        }
        codes = server.ask(asked)
        return [
            Ended(code, (folder / f"{number}.out").read_text(), (folder / f"{number}.err").read_text())
            for number, code in enumerate(codes)
        ]

    return run


def _serve(line: socket.socket) -> NoReturn:
    """Forks until nobody can ask any more; what ends with pytest is not this one's to end."""
    os.setsid()
    with line.makefile("rb") as questions:
        for question in questions:
            asked = json.loads(question)
            children = [_begin(asked, number) for number in range(len(asked["environments"]))]
            codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
            line.sendall(json.dumps(codes).encode() + b"\n")
    os._exit(0)


def _begin(asked: Mapping[str, Any], number: int) -> int:
    if child := os.fork():
        return child
    code = 1
    try:
        for end, name in ((1, "out"), (2, "err")):
            file = os.open(f"{asked['folder']}/{number}.{name}", os.O_WRONLY | os.O_CREAT)
            os.dup2(file, end)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        os.environ.clear()
        os.environ.update(asked["environments"][number])
        os.chdir(asked["cwd"])
        sys.argv = ["-c", *asked["arguments"]]
        exec(compile(asked["script"], "<script>", "exec"), {"__name__": "__main__"})
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # and nothing that this process was to do at its end
