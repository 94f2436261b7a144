"""A real `lafid ui` on a home, for as long as a test needs it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.demo_home import PROJECT_ROOT
from tests.ui.graphql import PATIENCE_S, Webserver, wait_for


@contextmanager
def serving(home: Path) -> Iterator[tuple[Webserver, str]]:
    """`lafid ui` on free ports: the Dagster webserver and the address of the MLflow UI."""
    port, mlflow_port = _free_port(), _free_port()
    command = [sys.executable, "-m", "lafid_assets.cli.main", "ui", "--port", str(port), "--mlflow-port", str(mlflow_port)]
    with open(home / "ui.log", "w") as log:
        process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=os.environ | {"LAFID_HOME": str(home)}, stdout=log, stderr=log)
    try:

        def announced() -> bool | None:
            assert process.poll() is None, (home / "ui.log").read_text()
            return True if "Ctrl-C ends both" in (home / "ui.log").read_text() else None

        wait_for(announced, "`lafid ui` announcing its addresses")
        yield Webserver(f"http://127.0.0.1:{port}"), f"http://127.0.0.1:{mlflow_port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
