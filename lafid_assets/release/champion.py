"""The model that a new one must not be worse than.

Belongs here: which version of the registry that is. Not here: its files (`model_files`), its measures (`evaluation`), what
follows from them (`gates`).
"""

from dataclasses import dataclass

from resources.tracking import CHECKPOINT_TAG, RegisteredVersion, Tracking

ALIASES = ("champion", "previous")
"""The order in which rivals are tried: a checkpoint is compared with the champion; the champion itself with the one before it."""


@dataclass(frozen=True)
class Rival:
    """A registered model, and what it is."""

    version: RegisteredVersion
    alias: str
    checkpoint_sha256: str


def rival_of(checkpoint_sha256: str, name: str, tracking: Tracking) -> Rival | None:
    """The model that a checkpoint is compared with; None where the registry has no other.

    A checkpoint that became champion stays compared with the one before it, so that being promoted changes no evaluation.

    Raises:
        TrackingUnreachable: MLflow's server does not answer.
    """
    if not tracking.is_there:
        return None
    for alias in ALIASES:
        version = tracking.version_of_alias(name, alias)
        if version is None:
            continue
        known = tracking.tags_of(tracking.connect().get_model_version(name, version)).get(CHECKPOINT_TAG)
        if known is not None and known != checkpoint_sha256:
            return Rival(RegisteredVersion(name, version), alias, known)
    return None
