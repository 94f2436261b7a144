"""Owners of leases: what is read back, and what is known of their lives."""

import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from resources.leases.owner import Owner, described


def test_an_owner_is_read_as_it_was_written() -> None:
    owner = Owner.here("lafid curate")
    assert Owner.read(str(owner)) == owner
    assert owner.hold != Owner.here("lafid curate").hold


@pytest.mark.parametrize("text", ["", "somebody", "[]", "7", '{"host": "x"}'])
def test_other_texts_name_nobody(text: str) -> None:
    assert Owner.read(text) is None
    assert described(text) == text


def test_it_is_known_of_processes_of_this_machine_whether_they_run() -> None:
    here = Owner.here("")
    assert here.runs() is True
    assert replace(here, started=here.started - 5).runs() is False, "another process has its id now"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        other = replace(here, pid=process.pid, started=psutil.Process(process.pid).create_time() - psutil.boot_time())
        assert other.runs() is True
        assert not other.is_this_process()
        process.kill()
        psutil.Process(process.pid).status()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert other.runs() is False, "it has ended, though nobody has waited for it"
    assert other.runs() is False


def test_of_other_machines_and_containers_nothing_is_known() -> None:
    here = Owner.here("")
    for other in (replace(here, host="elsewhere"), replace(here, machine="another boot")):
        assert other.runs() is None
        assert not other.is_this_process()


def test_setting_the_clock_kills_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Owner.here("")
    boot = psutil.boot_time()
    monkeypatch.setattr("psutil._psplatform.boot_time", lambda: boot + 3600)
    assert psutil.boot_time() == boot + 3600
    assert before.runs() is True
    assert before.is_this_process()


def test_what_is_said_of_an_owner() -> None:
    owner = Owner("host", "machine", 12, 3.0, "lafid curate", 1_700_000_000.0, "h")
    assert described(str(owner)) == "lafid curate on host, process 12, since 2023-11-14 22:13:20 UTC"
