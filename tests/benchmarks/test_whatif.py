"""The home that the benchmark of `lafid whatif` asks."""

import subprocess
import sys
from pathlib import Path

from benchmarks.whatif import QUESTIONS, install


def test_the_command_answers_on_the_generated_home(tmp_path: Path) -> None:
    install(tmp_path / "home", clips=40)
    lafid = str(Path(sys.executable).parent / "lafid")
    for options in QUESTIONS.values():
        answer = subprocess.run([lafid, "whatif", *options, "--home", str(tmp_path / "home")], capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        assert "of 40 judged clips now" in answer.stdout
