"""`mlflow models serve` of a registry's champion, as a process of its own."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 3600
"""Of a request: no machine is so slow."""
PATIENCE_S = 800
"""For the server to begin, and for an answer."""
_CLOCK = """
import os, sys, time
told, quickly = time.monotonic, os.environ["QUICKLY"]
def monotonic():
    try:
        passed_s = time.time() - os.stat(quickly).st_mtime
    except FileNotFoundError:
        return told()
    asked = sys._getframe(1).f_globals.get("__name__", "")
    return told() + (1000 * max(0.0, passed_s) if asked == "model.release.service" else 0.0)
time.monotonic = monotonic
"""


@dataclass(frozen=True)
class Server:
    """`mlflow models serve` of the champion."""

    address: str
    request: dict[str, Any]
    """A good one, as the checkpoint drew it."""

    quickly: Path
    """While it is there, the clock by which requests end runs a thousand times as fast."""

    def post(self, body: object) -> tuple[int, str]:
        """Status and text of the answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        asked = urllib.request.Request(f"{self.address}/invocations", data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def digest(self, **fields: object) -> str:
        """Of the frames of a good request."""
        status, text = self.post({"inputs": [self.request | fields]})
        assert status == 200, text[:500]
        (answer,) = json.loads(text)["predictions"]
        return str(answer["frames_sha256"])


@contextmanager
def served(root: Path, photo: Path, environment: dict[str, str]) -> Iterator[Server]:
    """Where this project cannot be imported: the code that travels along is what runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    programs = str(Path(sys.executable).parent)
    command = [f"{programs}/mlflow", "models", "serve", "-m", "models:/lafid@champion", "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--timeout", str(TIMEOUT_S)]
    quickly, clock = root / "quickly", root / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(_CLOCK)
    # MLflow looks for uvicorn on the path.
    settings = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(clock), "QUICKLY": str(quickly)}
    settings |= {"SERVING_MODEL_CONFIG": json.dumps({"device": "cpu", "queue": 3, "timeout_s": TIMEOUT_S})}
    with open(root / "server.log", "wb") as log:
        process = subprocess.Popen(command, cwd=root, env=environment | settings, stdout=log, stderr=log, start_new_session=True)
    image = base64.b64encode(photo.read_bytes()).decode()
    request = {"image": image, "prompt": "a smile", "steps": 1, "face": "largest"}
    found = Server(f"http://127.0.0.1:{port}", request, quickly)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not answers(f"{found.address}/ping"):
            assert process.poll() is None, (root / "server.log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        while found.post({"inputs": [found.request]})[0] != 200:  # the first one loads the face engine's weights
            assert time.monotonic() < deadline
        yield found
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def answers(address: str) -> bool:
    """Whether it is healthy."""
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
