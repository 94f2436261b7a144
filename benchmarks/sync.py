"""Do these lips go with this sound? Every speaker's lips under every speaker's sound, by each mouth model.

    python -m benchmarks.sync [FOLDER ...] [--engine dlib|insightface|both] [--made] [--cache DIR] [--json]

Every clip of the folders counts as one in which the person on screen speaks; without a folder, the clips of ../shared that are
labelled so. `--made` films further speakers with the sample footage's own studio. True pairs are a clip's lips under its own
sound, dubs its lips under another clip's. Lips are read once a clip and mouth model and kept in the cache, so that a second run
takes seconds. insightface takes its models from the model store (`LAFID_MODELS`, `lafid models list`).
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from benchmarks.speech import CASES, TESTDATA, engines_of, read_labels
from lafid_assets.outcomes import ClipError
from lafid_assets.speech.audio import decode_audio
from lafid_assets.speech.lips import LipSettings, MouthTrack, track_mouth, voice_reach_s
from lafid_assets.speech.measures import lips_under_voice
from lafid_assets.speech.speaking_status import SpeakingStatus, SpeechPolicy
from lafid_assets.speech.synchrony import Envelope, Synchrony, envelope_of, lip_sync
from lafid_assets.speech.voice import Span, spans_within, voice_spans
from model.face_engine.interface import FaceEngine
from model.face_engine.mouth.movement import opening_range
from model.files import sha256_file, whole_file

LEAST_AUC = 0.85
DUB_SHARES = (0.01, 0.02, 0.05, 0.10, 0.20)
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi"})
MADE_S, MADE_TAKES = 8.0, 2
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Speaker:
    """One clip's lips and sound.

    Attributes:
        lips: over all voice that may be looked at.
        extent: `mouth_range` of the lips; None where they were not seen for long enough.
    """

    name: str
    lips: MouthTrack
    voice: Sequence[Span]
    sound: Envelope
    extent: float | None

    def lips_under(self, sound: Envelope) -> MouthTrack:
        """As much of the lips as curation looks at where that is their sound."""

        def look(spans: Sequence[Span]) -> MouthTrack:
            first, *others = (self.lips.between(span.start_s, span.end_s) for span in spans)
            return reduce(MouthTrack.joined, others, first)

        return lips_under_voice(look, self.voice, sound, LipSettings())


@dataclass(frozen=True, eq=False)
class Scores:
    """How lips and sounds go together.

    Attributes:
        pairs: (clip of the lips, clip of the sound) to their synchrony; without pairs that cannot be compared.
    """

    pairs: dict[tuple[str, str], Synchrony]

    def of(self, measure: str, *, true: bool) -> Array:
        """The scores of the true pairs, or of the dubs: `z`, or the best `correlation`."""
        found = [sync for (lips, sound), sync in self.pairs.items() if (lips == sound) is true and sync.z is not None]
        return np.array([sync.z if measure == "z" else sync.best.correlation for sync in found], np.float64)


def read_speaker(path: Path, engine: FaceEngine, cache: Path) -> Speaker | None:
    """The clip's lips and sound as curation measures them, from the cache where they are; None where no voice is heard."""
    settings = LipSettings()
    facts = [sha256_file(path), engine.info.fingerprint, settings.model_dump_json()]
    kept = cache / f"{hashlib.sha256(' '.join(facts).encode()).hexdigest()[:32]}.npz"
    if not kept.is_file():
        audio = decode_audio(path)
        voice = [] if audio is None else voice_spans(audio)
        if audio is None or not voice:
            return None
        heard = spans_within(voice, 0.0, voice_reach_s(voice, settings.max_duration_s, 0.0))
        track = track_mouth(path, heard, engine, settings)
        cache.mkdir(parents=True, exist_ok=True)
        with whole_file(kept) as temporary, temporary.open("wb") as stream:
            spans_s = np.array([(span.start_s, span.end_s) for span in heard])
            np.savez(stream, **vars(track), envelope=envelope_of(audio).values, spans_s=spans_s)
    with np.load(kept) as arrays:
        sound, voice = Envelope(arrays["envelope"]), [Span(*span) for span in arrays["spans_s"].tolist()]
        lips = MouthTrack(**{field.name: arrays[field.name] for field in fields(MouthTrack)})
    return Speaker(path.stem, lips, voice, sound, opening_range(lips.times_s, lips.openings, lips.run))


def score(speakers: Sequence[Speaker]) -> Scores:
    """Every speaker's lips under every speaker's sound."""
    pairs = {(a.name, b.name): lip_sync(a.lips_under(b.sound), b.sound) for a in speakers for b in speakers}
    return Scores({names: sync for names, sync in pairs.items() if sync is not None})


def area_under_roc(true: Array, dubs: Array) -> float:
    """How often a true pair scores higher than a dub, ties counting half."""
    return float((true[:, None] > dubs).mean() + 0.5 * (true[:, None] == dubs).mean())


def roc(true: Array, dubs: Array) -> list[dict[str, float]]:
    """At each share of dubs that passes: the threshold, and the share of true pairs that does."""
    thresholds = [float(np.quantile(dubs, 1 - share)) for share in DUB_SHARES]
    return [
        {"dubs": share, "threshold": threshold, "true": float((true >= threshold).mean())}
        for share, threshold in zip(DUB_SHARES, thresholds, strict=True)
    ]


def summarise(speakers: Sequence[Speaker], mouth: str, policy: SpeechPolicy) -> dict[str, Any]:
    """The figures of one mouth model."""
    scores = score(speakers)
    z, dubbed_z = scores.of("z", true=True), scores.of("z", true=False)
    own = {speaker.name: scores.pairs.get((speaker.name, speaker.name)) for speaker in speakers}
    rows = [
        {
            "clip": speaker.name,
            "mouth_range": speaker.extent,
            "still": speaker.extent is not None and speaker.extent <= policy.still_max_range[mouth],
            "correlation": sync.best.correlation if sync else None,
            "offset_s": sync.best.offset_s if sync else None,
            "z": sync.z if sync else None,
        }
        for speaker, sync in ((speaker, own[speaker.name]) for speaker in speakers)
    ]
    return {
        "mouth": mouth,
        "true_pairs": len(z),
        "dubs": len(dubbed_z),
        "auc": area_under_roc(z, dubbed_z),
        "auc_correlation": area_under_roc(scores.of("correlation", true=True), scores.of("correlation", true=False)),
        "roc": roc(z, dubbed_z),
        "policy_z": policy.min_sync_z,
        "policy_true": float((z >= policy.min_sync_z).mean()),
        "policy_dubs": float((dubbed_z >= policy.min_sync_z).mean()),
        "not_carried": sorted(row["clip"] for row in rows if row["z"] is None or row["z"] < policy.min_sync_z),
        "not_compared": sorted(name for name, sync in own.items() if sync is None or sync.z is None),
        "rows": sorted(rows, key=lambda row: row["clip"]),
    }


def film_speakers(folder: Path) -> list[Path]:
    """Speakers of the sample footage's studio: every person, `MADE_TAKES` times, nearly frontal."""
    from lafid_assets.sample_footage.build import film, portrait_landmarks
    from lafid_assets.sample_footage.persons import PERSONS
    from lafid_assets.sample_footage.render import Studio
    from lafid_assets.sample_footage.scenes import Appearance, Motion, Scene, Shot, Sound

    studio, paths = Studio(portrait_landmarks()), []
    for person in PERSONS:
        for take in range(1, MADE_TAKES + 1):
            appearance = Appearance(person=person, motion=Motion(yaw_deg=(-10.0, 8.0), period_s=3.1))
            scene = Scene(
                name=f"made {person} {take}",
                shots=(Shot(duration_s=MADE_S, people=(appearance,)),),
                sound=Sound.VOICE,
                lips_move=True,
                fps=25,
                caption="",
            )
            paths.append(folder / f"made_{person}_{take}.mp4")
            paths[-1].write_bytes(film(scene, studio))
    return paths


def labelled_speakers() -> list[Path]:
    """The clips of ../shared in which the person on screen speaks, and no other clip's picture or sound was worked in."""
    labels = read_labels(TESTDATA / "SOURCES.md", sorted((TESTDATA / "clips").iterdir()))
    spoken = [clip for clip, allowed in labels.items() if allowed == {SpeakingStatus.ON_SCREEN} and "derived" not in clip.stem]
    return spoken + sorted(CASES.glob("sv_*.mp4"))


def clips_in(folders: Iterable[Path]) -> list[Path]:
    """Every video of the folders."""
    return sorted(path for folder in folders for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)


def show(summary: dict[str, Any]) -> None:
    """One mouth model's tables as text."""
    print(f"\n{summary['mouth']}: {summary['true_pairs']} true pairs, {summary['dubs']} dubs")
    for row in summary["rows"]:
        numbers = "  ".join("    -" if row[name] is None else f"{row[name]:5.2f}" for name in ("correlation", "offset_s", "z"))
        extent = "    -" if row["mouth_range"] is None else f"{row['mouth_range']:.3f}"
        print(f"  {row['clip']:44} range {extent}  {numbers}")
    print("  (columns: mouth_range, best correlation, its offset, z)")
    print("  dubs that pass   z at least   speakers that pass")
    for row in summary["roc"]:
        print(f"  {row['dubs']:14.0%}   {row['threshold']:10.2f}   {row['true']:18.0%}")
    print(
        f"  AUC of z {summary['auc']:.3f} (bar: {LEAST_AUC}), of the correlation alone {summary['auc_correlation']:.3f}\n"
        f"  at the policy's z of {summary['policy_z']:g}: {summary['policy_true']:.0%} of the speakers, "
        f"{summary['policy_dubs']:.0%} of the dubs\n"
        f"  speakers that the evidence does not carry: {', '.join(summary['not_carried']) or 'none'}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, help="folders of clips in which the person on screen speaks")
    parser.add_argument("--engine", choices=("dlib", "insightface", "both"), default="both", help="face engines that look")
    parser.add_argument("--made", action="store_true", help="film further speakers with the sample footage's studio")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "lafid_sync_cache", help="where lips that were read are kept"
    )
    parser.add_argument("--json", action="store_true", help="print one object instead of tables")
    arguments = parser.parse_args()
    paths = clips_in(arguments.folders) if arguments.folders or not TESTDATA.is_dir() else labelled_speakers()
    if not paths and not arguments.made:
        print("No clips: name a folder, ask for --made, or lay ../shared beside the checkout.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as made:
        if arguments.made:
            paths = paths + film_speakers(Path(made))
        summaries = [_of_engine(engine, paths, arguments.cache) for engine in engines_of(arguments.engine)]
    if arguments.json:
        print(json.dumps({"clips": len(paths), "least_auc": LEAST_AUC, "models": summaries}))
    else:
        for summary in summaries:
            show(summary)
    return 0


def _of_engine(engine: FaceEngine, paths: Sequence[Path], cache: Path) -> dict[str, Any]:
    mouth = engine.info.mouth
    if mouth is None:
        raise SystemExit(f"{engine.info.name} has no mouth model: add one to the model store")
    speakers, left_out = [], {}
    for path in paths:
        try:
            speaker = read_speaker(path, engine, cache)
        except ClipError as error:
            left_out[path.stem] = str(error)
            continue
        if speaker is None:
            left_out[path.stem] = "no voice"
        else:
            speakers.append(speaker)
    return summarise(speakers, mouth, SpeechPolicy()) | {"engine": engine.info.name, "left_out": left_out}


if __name__ == "__main__":
    raise SystemExit(main())
