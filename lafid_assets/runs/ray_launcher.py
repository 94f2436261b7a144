"""Dagster's runs as Ray jobs, where a head that is away fails no run.

Belongs here: what `RayRunLauncher` does wrong for LaFID. Not here: its settings (`deploy/dagster.ray.yaml`), what a run asks for
(`resources.trainer.launch`).

A launch that fails is a failed run for Dagster, which tries it twice again: with Ray's head away for half a minute, all that was
queued is burned. Only of code servers does it know that they come back; a head is told to be one.
"""

from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import LaunchRunContext
from dagster_ray import RayRunLauncher

LAUNCHED_BEFORE = "already exists"
NOT_READY = "Request failed with status code 5"
"""How Ray's own errors say so."""


class RayLauncher(RayRunLauncher):
    """Named in `dagster.yaml` as the `run_launcher`; takes the settings of `RayRunLauncher`."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """As `RayRunLauncher`'s.

        Raises:
            DagsterUserCodeUnreachableError: the head does not answer. Dagster puts the run back into its queue, as often as
                `run_queue` in dagster.yaml says.
        """
        try:
            super().launch_run(context)
        except (OSError, RuntimeError) as error:
            if LAUNCHED_BEFORE in str(error):  # the head took the run, and went away before it could say so
                return
            if isinstance(error, RuntimeError) and NOT_READY not in str(error):
                raise
            raise DagsterUserCodeUnreachableError(
                f"Ray's head at {self.address} does not answer: start it; the run waits in the queue"
            ) from error
