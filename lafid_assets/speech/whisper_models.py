"""Which speech model transcribes: one that config names, else one of the model store, else none.

Belongs here: the choice and its reason. Not here: running the model (`transcript`), the store (`model.model_store`).
"""

from dataclasses import dataclass
from pathlib import Path

from lafid_assets.speech.transcript import WhisperTranscriber
from model.files import sha256_file
from model.model_store.registry import REGISTRY, Kind
from model.model_store.store import ModelStore

AUTO, NONE = "auto", "none"
WEIGHTS = "model.bin"
UNSTATED = "unstated"


class WhisperUnknown(ValueError):
    """There is no speech model of that name; the message lists those that there are."""


@dataclass(frozen=True)
class WhisperChoice:
    """The speech model and why it is this one.

    Attributes:
        folder: None where nothing is transcribed.
        sha256: over its weights; None without a model.
        licence: of its weights, as the registry has it; `unstated` of a folder of one's own, None without a model.
    """

    folder: Path | None
    sha256: str | None
    reason: str
    licence: str | None = None


def choose_whisper(whisper: str, whisper_dir: Path | None, store: ModelStore) -> WhisperChoice:
    """The speech model that config means.

    Args:
        whisper: "auto" (the largest that the store holds), "none", or a name in the registry.
        whisper_dir: a folder that goes before the store.

    Raises:
        FileNotFoundError: `whisper_dir` holds no such model, or the named one is not in the store.
        WhisperUnknown: the registry has no speech model of that name.
        StoreDamaged: the model's files are not those that were added.
    """
    if whisper_dir is not None:
        WhisperTranscriber(whisper_dir)
        return WhisperChoice(whisper_dir, sha256_file(whisper_dir / WEIGHTS), "whisper_dir names the model", UNSTATED)
    if whisper == NONE:
        return WhisperChoice(None, None, "no transcript was asked for")
    names = [entry.name for entry in REGISTRY if entry.kind is Kind.WHISPER]
    if whisper in names:
        return _chosen(store, whisper, "asked for by name")
    if whisper != AUTO:
        raise WhisperUnknown(f"there is no speech model {whisper!r}: choose auto, none, {', '.join(names)}")
    held = [name for name in names if store.usable(name)]
    if not held:
        return WhisperChoice(None, None, "the model store has no speech model")
    return _chosen(store, held[-1], f"auto: the largest of {len(held)} in the model store")


def _chosen(store: ModelStore, name: str, reason: str) -> WhisperChoice:
    model = store.require(name)
    [(_, weights)] = model.networks(Kind.WHISPER)
    return WhisperChoice(model.folder, weights.sha256, reason, str(model.entry.licence))
