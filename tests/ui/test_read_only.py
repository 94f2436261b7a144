"""`lafid ui --read-only`: pages to look at, on localhost alone, and gone with all that it started when it is told to end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.demo_home import PROJECT_ROOT
from tests.ui.graphql import Webserver, wait_for
from tests.ui.sockets import listening

pytestmark = pytest.mark.ui
LAUNCH = """
    mutation {
        launchRun(executionParams: {
            selector: {repositoryLocationName: "lafid", repositoryName: "__repository__", jobName: "compact_lake"}
            mode: "default"
        }) { __typename }
    }
"""


def test_it_shows_and_launches_nothing_and_listens_on_localhost(tmp_path: Path) -> None:
    home, log = tmp_path / "home", tmp_path / "ui.log"
    command = [sys.executable, "-m", "lafid_assets.cli.main", "ui", "--read-only"]
    with log.open("w") as output:
        ui = subprocess.Popen(command, cwd=PROJECT_ROOT, env=os.environ | {"LAFID_HOME": str(home)}, stdout=output, stderr=output)
    try:

        def address() -> str | None:
            assert ui.poll() is None, log.read_text()
            told = [line.split()[-1] for line in log.read_text().splitlines() if line.startswith("Dagster UI")]
            return told[0] if told else None

        dagster = Webserver(wait_for(address, "`lafid ui --read-only` announcing its address"))
        assert dagster.ask("{ version }")["version"]
        assert dagster.ask(LAUNCH)["launchRun"]["__typename"] == "UnauthorizedError"
        assert listening(ui.pid) == {"127.0.0.1"}
        tree = [psutil.Process(ui.pid), *psutil.Process(ui.pid).children(recursive=True)]
        assert not any("dagster-daemon" in " ".join(process.cmdline()) for process in tree), "nothing starts what is due"
    finally:
        ui.send_signal(signal.SIGTERM)
        ui.wait(60)
    assert ui.returncode == 128 + signal.SIGTERM
    assert [process for process in tree if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
