"""Machines within this machine: a process tree with a process table, a network card and a host name of its own.

Belongs here: namespaces of Linux, and faults of a machine: it dies, freezes, or its cable is pulled. Not here: what
runs on it (`cluster`).

A space lives as long as its first process, and all spaces of a site as long as the site's first: the kernel ends whatever is in
there, however that one ends.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

PROGRAMS = ("unshare", "ip")
NETWORK = "10.77.0"
SITE_ADDRESS = f"{NETWORK}.1"
BRIDGE = "lafid0"
APART = ("unshare", "--net", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--uts")
CARD_S = 30.0


def why_not() -> str:
    """Why this machine lets nobody make spaces; empty where it does."""
    if sys.platform != "linux":
        return "needs Linux: nodes are namespaces of it"
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"needs the program {missing[0]} (util-linux, iproute2)"
    tried = subprocess.run([*APART, "ip", "link", "add", BRIDGE, "type", "bridge"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"needs the right to make namespaces: {tried.stderr.strip() or 'refused'}"


def end_with_input(folder: Path) -> None:
    """Let this process, and with it its whole site, end when the other end of its standard input does, however that one ends;
    what it kept in `folder` goes, too. Never returns."""
    with suppress(OSError):
        while os.read(0, 4096):
            pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


@contextmanager
def site_ending_with_trial(folder: Path) -> Iterator[None]:
    """A trial's block, with which its process and whatever still runs in the site end: with 1 where it raised, or when the input
    ends (`end_with_input`)."""
    threading.Thread(target=end_with_input, args=[folder], daemon=True).start()
    code = 1
    try:
        yield
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def build_site() -> None:
    """The switch that all machines of this site are plugged into. The site itself is on it, too."""
    # No route leads out: who asks a name server is told at once that there is none, and waits for nothing.
    for line in (
        "link set lo up",
        f"link add {BRIDGE} type bridge",
        f"addr add {SITE_ADDRESS}/24 dev {BRIDGE}",
        f"link set {BRIDGE} up",
    ):
        _ip(line)


class Space:
    """A machine of the site.

    Args:
        number: the last number of its address.
        log: where its processes write.
    """

    def __init__(self, name: str, number: int, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name, self.address, self._cable = name, f"{NETWORK}.{number}", f"v{number}"
        self._output: IO[bytes] = log.open("ab")
        boot = (
            'hostname "$0"; ip link set lo up; until ip addr show eth0 2>&1 | grep -q "state UP"; do sleep 0.05; done; "$@"; exit'
        )
        self._process = subprocess.Popen(
            [*APART, "sh", "-c", boot, name, *command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._plug_in()

    def _plug_in(self) -> None:
        give_up = time.monotonic() + CARD_S
        while not (children := psutil.Process(self._process.pid).children()):
            assert time.monotonic() < give_up, f"{self.name} did not begin"
            time.sleep(0.02)
        first = children[0].pid
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{first}/ns/net") == own:
            time.sleep(0.02)
        card = f"c{self._cable}"
        _ip(f"link add {self._cable} type veth peer name {card} netns {first}")
        _ip(f"link set {self._cable} master {BRIDGE} up")
        inside = ["nsenter", "-t", str(first), "-n", "ip"]
        for line in (f"link set {card} name eth0", f"addr add {self.address}/24 dev eth0", "link set eth0 up"):
            subprocess.run([*inside, *line.split()], check=True, capture_output=True)

    @property
    def is_there(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def processes(self) -> list[psutil.Process]:
        """All of its processes, the first one first."""
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """Pull the plug: everything on it is gone at once, and says nothing to anybody."""
        for process in self.processes()[:1]:
            process.kill()
        self._process.wait(30)
        # The kernel takes its time with that, or has been quicker.
        subprocess.run(["ip", "link", "del", self._cable], capture_output=True, check=False)
        self._output.close()

    def freeze(self) -> None:
        """Stop its time."""
        self._send(signal.SIGSTOP, self.processes())

    def thaw(self, processes: Sequence[psutil.Process] | None = None) -> None:
        """Let it go on as if nothing had been; or some of its processes first."""
        self._send(signal.SIGCONT, self.processes() if processes is None else processes)

    def cut_off(self) -> None:
        """Pull its network cable."""
        _ip(f"link set {self._cable} down")

    def reconnect(self) -> None:
        """Plug the cable in again."""
        _ip(f"link set {self._cable} up")

    @staticmethod
    def _send(number: signal.Signals, processes: Sequence[psutil.Process]) -> None:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def _ip(line: str) -> None:
    done = subprocess.run(["ip", *line.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {line}: {done.stderr}"
