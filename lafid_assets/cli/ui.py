"""`lafid ui`: the Dagster UI with its daemon, and the MLflow UI, on this installation's data; or Dagster's alone, to look at.

Belongs here: starting, watching and ending both servers. Not here: anything that they show.
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from lafid_assets.cli.display import CONSOLE, working
from resources.settings import PROJECT_ROOT, Settings
from resources.tracking import Tracking

HOST = "127.0.0.1"
USUAL_PORT, USUAL_MLFLOW_PORT = 3000, 5000
START_DEADLINE_S = 600.0
END_DEADLINE_S = 20.0


class PortBusy(OSError):
    """Nothing can listen there; the message says why, and names the option."""


def run_ui(settings: Settings, port: int | None, mlflow_port: int | None, *, read_only: bool = False) -> None:
    """Serve both until Ctrl-C, SIGTERM, the end of the terminal, or until one of them ends. A team's MLflow server is named and
    not served again.

    To look at, Dagster's pages are served alone: nothing can be launched, switched or deleted there, and no daemon starts what
    is due. MLflow's own pages have no such mode.

    Args:
        port, mlflow_port: None: the usual one, or any other where that is taken.
    """
    is_ours = settings.mlflow_uri.startswith("sqlite:") and not read_only
    dagster_port = _port(port, USUAL_PORT, "--port")
    own_port = _port(mlflow_port, USUAL_MLFLOW_PORT, "--mlflow-port") if is_ours else 0
    _leave_at(signal.SIGTERM)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # which `nohup` has asked for
        _leave_at(signal.SIGHUP)
    settings.prepare()
    if not read_only:
        Tracking(settings.mlflow_uri, settings.mlflow_artifacts).connect()
    begun = _start("dagster", _dagster_command(dagster_port, read_only=read_only), settings)
    servers = {f"http://{HOST}:{dagster_port}": begun}
    addresses = [*servers] if read_only else [*servers, settings.mlflow_uri]
    try:
        if is_ours:
            addresses[-1] = f"http://{HOST}:{own_port}"
            servers[addresses[-1]] = _start("mlflow", _mlflow_command(settings, own_port), settings)
        with working("starting (about 20 s)"):
            for address, server in servers.items():
                _wait_until_it_answers(address, server, settings)
        for name, address in zip(("Dagster UI", "MLflow UI "), addresses, strict=False):
            CONSOLE.print(f"{name}  {address}")
        if read_only:
            CONSOLE.print("To look at alone: nothing can be launched there. Ctrl-C ends it.")
        else:
            CONSOLE.print("Ctrl-C ends both." if is_ours else "Ctrl-C ends the first.")
        while all(server.poll() is None for server in servers.values()):
            time.sleep(0.5)
        raise RuntimeError(f"a server ended by itself{_last_words(settings)}")
    finally:
        _stop(list(servers.values()))


def _leave_at(number: signal.Signals) -> None:
    """Exit at this signal, so that `finally` ends the servers."""
    signal.signal(number, lambda *_: sys.exit(128 + number))


def refuse_busy_port(host: str, port: int, option: str) -> None:
    """
    Raises:
        PortBusy: another program listens there, the address is none of this machine, or the port is not for everybody.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortBusy(f"port {port} is taken by another program: end it, or choose another with {option}") from error
            raise PortBusy(f"nothing can listen at {host}, port {port} ({error.strerror}): name another of them") from error


def _port(named: int | None, usual: int, option: str) -> int:
    """The named one; of none the usual one, or any other where that is taken."""
    try:
        refuse_busy_port(HOST, usual if named is None else named, option)
    except PortBusy:
        if named is not None:
            raise
        with socket.socket() as free:
            free.bind((HOST, 0))
            return int(free.getsockname()[1])
    return usual if named is None else named


def _dagster_command(port: int, *, read_only: bool) -> list[str]:
    program = [_beside_python("dagster-webserver"), "--read-only"] if read_only else [_beside_python("dagster"), "dev"]
    return [*program, "-w", str(PROJECT_ROOT / "workspace.yaml"), "-h", HOST, "-p", str(port)]


def _mlflow_command(settings: Settings, port: int) -> list[str]:
    store = ["--backend-store-uri", settings.mlflow_uri, "--artifacts-destination", settings.mlflow_artifacts.as_uri()]
    return [_beside_python("mlflow"), "server", *store, "--host", HOST, "--port", str(port), "--workers", "1"]


def _beside_python(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _start(name: str, command: list[str], settings: Settings) -> subprocess.Popen[bytes]:
    # On a busy machine the code server takes longer than Dagster's 60 s, and the run that waits for it would be marked as failed.
    environment = {"DAGSTER_GRPC_TIMEOUT_SECONDS": "600"} | os.environ
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with open(settings.logs / f"{name}.log", "wb") as log:
        return subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def _wait_until_it_answers(address: str, server: subprocess.Popen[bytes], settings: Settings) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the server at {address} ended with code {server.returncode}{_last_words(settings)}")
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.3)
    raise RuntimeError(f"{address} did not answer within {START_DEADLINE_S:.0f} s: read the logs in {settings.logs}")


def _last_words(settings: Settings) -> str:
    """What the logs end with: an error's own words come last."""
    said = []
    for name in ("dagster", "mlflow"):
        if (log := settings.logs / f"{name}.log").is_file():
            lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
            said += [f"{log}: {lines[-1]}"] if lines else []
    return ": " + "; ".join(said)


def _stop(servers: list[subprocess.Popen[bytes]]) -> None:
    """Stop the servers and all that they started, which may outlive a server that ended by itself."""
    deadline = time.monotonic() + END_DEADLINE_S
    for server in servers:
        _signal_all(server, signal.SIGTERM)
    for server in servers:
        while time.monotonic() < deadline and _signal_all(server, 0):
            server.poll()  # until it is asked how it ended, it counts as there
            time.sleep(0.05)
        _signal_all(server, signal.SIGKILL)
        server.wait()


def _signal_all(server: subprocess.Popen[bytes], number: int) -> bool:
    """Signal the server and what it started; whether anything was there."""
    try:
        os.killpg(server.pid, number)
    except ProcessLookupError:
        return False
    return True
