"""What a version must be beside its figures: not trained on the bench, whole, reproducible, licensed, without forgotten persons.

Belongs here: facts -> findings, pure functions. Not here: gathering the facts (`judgement`), figures (`gates`).
"""

from collections.abc import Sequence

from lafid_assets.release.gates import Finding
from lafid_assets.release.licences import Licensed, objections
from lafid_assets.schemas.registry import PASSED, REFUSED, UNDECIDED


def unseen(leaks: Sequence[str] | None, unknown: str) -> Finding:
    """Whether the bench holds anybody that the model was trained on; where `leaks` is None, `unknown` says why nobody knows."""
    if leaks is None:
        return Finding("unseen", UNDECIDED, None, None, f"whether it was trained on the bench is not known: {unknown}")
    if leaks:
        more = f", and {len(leaks) - 1} more" if len(leaks) > 1 else ""
        return Finding("unseen", REFUSED, float(len(leaks)), 0.0, f"it was trained on what the bench holds: {leaks[0]}{more}")
    return Finding("unseen", PASSED, 0.0, 0.0, "nothing of the bench was trained on")


def weights(broken: str | None) -> Finding:
    """Whether every number of the checkpoint is finite; `broken` is what is not, or cannot be read."""
    said = "every tensor is finite" if broken is None else f"the weights are broken: {broken}"
    return Finding("weights", PASSED if broken is None else REFUSED, None, None, said)


def reload(frames_sha256: Sequence[str], failed: str | None) -> Finding:
    """Whether fresh processes that load the checkpoint draw the same frames; `failed` says why one could not draw."""
    if failed is not None:
        return Finding("reload", REFUSED, None, None, f"a fresh process could not draw with it: {failed}")
    if len(set(frames_sha256)) != 1:
        told = " and ".join(name[:12] for name in frames_sha256)
        return Finding("reload", REFUSED, None, None, f"fresh processes draw different frames from the same seed: {told}")
    return Finding("reload", PASSED, None, None, f"fresh processes draw the same frames: sha256 {frames_sha256[0]}")


def licences(parts: Sequence[Licensed], use: str) -> Finding:
    """Whether every part allows the declared use."""
    forbidden, unclear = objections(parts, use)
    if forbidden:
        said = f"{use} use is forbidden by {'; '.join(map(str, forbidden))}"
        return Finding("licences", REFUSED, float(len(forbidden)), 0.0, said)
    if unclear:
        said = f"whether {use} use is allowed is not said by {'; '.join(map(str, unclear))}"
        return Finding("licences", UNDECIDED, float(len(unclear)), 0.0, said)
    return Finding("licences", PASSED, 0.0, 0.0, f"{use} use is allowed by all {len(parts)} parts")


def nobody_forgotten(dataset_version: str, erased_clips: int | None) -> Finding:
    """Whether nobody of its dataset version was forgotten since; None: the lake does not know the version."""
    if erased_clips is None:
        said = f"dataset version {dataset_version} is not in this lake: who was forgotten of it is not known"
        return Finding("forgotten", UNDECIDED, None, 0.0, said)
    if erased_clips:
        said = f"{erased_clips} clips of dataset version {dataset_version} were forgotten since: train it anew"
        return Finding("forgotten", REFUSED, float(erased_clips), 0.0, said)
    return Finding("forgotten", PASSED, 0.0, 0.0, f"nobody of dataset version {dataset_version} was forgotten")
