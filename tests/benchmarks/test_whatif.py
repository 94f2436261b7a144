"""The home that the benchmark of `lafid whatif` asks."""

from pathlib import Path

from benchmarks.whatif import QUESTIONS, install
from tests.forked import Fresh


def test_the_command_answers_on_the_generated_home(fresh_processes: Fresh, tmp_path: Path) -> None:
    install(tmp_path / "home", clips=40)
    for options in QUESTIONS.values():
        [answer] = fresh_processes(
            "from lafid_assets.cli.main import main; main()", "whatif", *options, "--home", tmp_path / "home"
        )
        assert answer.returncode == 0, answer.stderr
        assert "of 40 judged clips now" in answer.stdout
