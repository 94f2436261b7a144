"""The worker's end: launches the trainer under its supervisor, streams what it says into the run, judges how it ended.

Belongs here: the Pipes session and the life of the child. Not here: what ends a child whose worker is gone (`supervisor`).

Dagster's own `PipesSubprocessClient` sends SIGINT, waits 20 s and gives up; a killed worker leaves its child training, and the
next run starts a second trainer on the same GPU. Hence a client of our own.
"""

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from resources.dagster_storage import signs_of_life
from resources.settings import PROJECT_ROOT
from resources.trainer.job import ENDING, INTERRUPTED_EXIT, Failed, Finished, Interrupted, TrainingJob
from resources.trainer.launch import LaunchConfig
from resources.trainer.supervisor import KILL_PATIENCE_S

# Dagster warns of a property of its own, which it reads itself.
warnings.filterwarnings("ignore", message=".*expected_writer_count", category=dg.PreviewWarning)

LAST_LINES = 20
TAIL_BYTES = 16_384


@dataclass(frozen=True)
class TrainerClient:
    """Runs trainers as child processes of a Dagster run."""

    launch: LaunchConfig = field(default_factory=LaunchConfig)

    def train(self, context: dg.AssetExecutionContext, job: TrainingJob) -> Finished:
        """Trains, and waits. A cancelled run ends the trainer before this raises.

        Raises:
            Failure: the trainer was interrupted (its state is saved: the next materialization goes on), failed, or died.
        """
        log = job.folder / "trainer.log"
        return self.run(context, self.launch.command(job.write()), log)

    def run(self, context: dg.AssetExecutionContext, command: Sequence[str], log: Path) -> Finished:
        """Like `train`, for any command that speaks Pipes and tells its ending. What it prints is added to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            begin = output.tell()
            with dg.open_pipes_session(
                context=context,
                context_injector=dg.PipesTempFileContextInjector(),
                message_reader=dg.PipesTempFileMessageReader(),
            ) as session:
                context.log.info(f"trainer: {' '.join(command)}; what it prints goes to {log}")
                code = self._supervise(context, command, session.get_bootstrap_env_vars(), output)
            messages = session.get_custom_messages()
        return _judge(messages, code, _last_lines(log, begin), log)

    def _supervise(self, context: dg.AssetExecutionContext, command: Sequence[str], variables: Any, output: Any) -> int:
        lifeline, held = os.pipe()
        try:
            options = ["--lifeline", str(lifeline), "--worker", str(os.getpid()), "--grace-s", str(self.launch.grace_s)]
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "resources.trainer.supervisor", *options, "--", *command],
                cwd=PROJECT_ROOT,
                env=os.environ | variables | self.launch.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[lifeline, *signs_of_life(context.run_id)],
                start_new_session=True,
            )
            os.close(lifeline)
            try:
                return supervisor.wait()
            except BaseException:  # a cancelled run raises what is no Exception
                context.log.warning(f"the run ends: the trainer has {self.launch.grace_s:g} s to save its state")
                self._end(supervisor)
                # Dagster would hold a cancelled run's place in the pool for minutes, for children that may have outlived it.
                context.instance.event_log_storage.free_concurrency_slots_for_run(context.run_id)
                raise
        finally:
            os.close(held)  # whatever happened above: without it the supervisor ends the trainer

    def _end(self, supervisor: "subprocess.Popen[bytes]") -> None:
        supervisor.terminate()
        try:
            supervisor.wait(self.launch.grace_s + 2 * KILL_PATIENCE_S + 5)
        except subprocess.TimeoutExpired:
            supervisor.kill()  # the kernel ends the trainer with it
            supervisor.wait()


def _judge(messages: Sequence[Any], code: int, last_lines: str, log: Path) -> Finished:
    ending = ENDING.validate_python(messages[-1]) if messages else None
    if isinstance(ending, Finished) and code == 0:
        return ending
    if isinstance(ending, Interrupted):
        # Under torchrun the exit code is torchrun's own, so the trainer's word counts.
        why = f"the trainer was interrupted after step {ending.step}; its state is saved: materialize again to go on from there"
    elif code == INTERRUPTED_EXIT:
        why = "the trainer was interrupted; its state is saved: materialize again to go on from there"
    elif isinstance(ending, Failed):
        why = f"the trainer failed: {ending.message}"
    elif code > 128:
        why = f"the trainer was killed by {_signal_name(code - 128)}; materialize again to go on from its last saved state"
    else:
        why = f"the trainer ended with exit code {code} and without a result"
    # An error that the trainer could tell comes again with the same job; interruptions and kills need not.
    raise dg.Failure(
        description=f"{why}\nIts last lines ({log}):\n{last_lines or 'none'}",
        metadata={"exit_code": code, "log": dg.MetadataValue.path(str(log))},
        allow_retries=not isinstance(ending, Failed),
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_lines(log: Path, begin: int) -> str:
    """The last lines of what was added to `log` from byte `begin` on."""
    with log.open("rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        stream.seek(max(begin, end - TAIL_BYTES))
        lines = stream.read().decode(errors="replace").splitlines()
    return "\n".join([line for line in lines if line.strip()][-LAST_LINES:])
