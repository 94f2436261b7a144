"""Fresh processes are as `python -c` would have them, and know nothing of the tests."""

import os
import signal
import sys

from tests.forked import Fresh

_SCRIPT = """
import os, signal, sys
print(__name__, sys.argv[1:], os.environ.get("WHO"), "tests.of_a_test" in sys.modules, "pytest" in sys.modules)
print("told", file=sys.stderr)
{"a": sys.exit, "b": lambda _: os.kill(os.getpid(), signal.SIGKILL), "c": int}[os.environ["WHO"]]("no number")
"""


def test_each_ends_by_itself_and_its_output_is_its_own(fresh_processes: Fresh) -> None:
    sys.modules["tests.of_a_test"] = sys
    try:
        ended = fresh_processes(_SCRIPT, 1, environments=[{"WHO": who} for who in "abc"])
    finally:
        del sys.modules["tests.of_a_test"]
    assert [one.returncode for one in ended] == [1, -signal.SIGKILL, 1]
    for who, one in zip("ac", (ended[0], ended[2]), strict=True):
        assert one.stdout == f"__main__ ['1'] {who} False True\n"
    assert ended[0].stderr == "told\nno number\n"
    assert ended[2].stderr.endswith("ValueError: invalid literal for int() with base 10: 'no number'\n")


def test_a_second_question_is_answered_in_the_folder_it_names(fresh_processes: Fresh, tmp_path) -> None:
    [ended] = fresh_processes("import os; print(os.getcwd())", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, f"{os.path.realpath(tmp_path)}\n")
