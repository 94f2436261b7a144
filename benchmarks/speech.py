"""Who speaks in the labelled test clips: the decisions against the labels of ../shared, and what they cost.

    python benchmarks/speech.py [--engine dlib|insightface|both] [--json]

insightface takes its models from the model store (`LAFID_MODELS`, `lafid models list`).

The labels judge: the last table of SOURCES.md there, and what the README of `cases` says of its media.
"""

import argparse
import json
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from lafid_assets.speech.measures import measure_speech
from lafid_assets.speech.speaking_status import SpeakingStatus, decide
from model.face_engine.interface import FaceEngine
from model.model_store.store import ModelMissing
from resources.face_engine import load_face_engine

SHARED = Path(__file__).resolve().parents[2] / "shared"
TESTDATA, CASES = SHARED / "testdata", SHARED / "cases" / "media"
CASE_LABELS = {
    "sv_dlg1_2.mp4": ("on_screen",),
    "sv_half4.mp4": ("on_screen",),
    "sv_full1.mp4": ("on_screen",),
    "sv_full3.mp4": ("on_screen",),
    "neg_gaze_voice.mp4": ("off_screen",),
    "neg_dub_half4_katie.mp4": ("undecidable",),
}
"""By `cases/README.md`: speakers, a closed mouth under a voice, and a man's lips under a woman's voice."""
ON_SCREEN_BEFORE = {"dlib": 8, "face_mesh": 7}
"""Clips of `testdata` that were called on_screen when moving lips under any voice were enough (commit 938c268)."""
LEAST_RIGHT_SHARE = 0.90
MOST_UNDECIDABLE_SHARE = 0.20


def read_labels(sources: Path, clips: list[Path]) -> dict[Path, frozenset[SpeakingStatus]]:
    """Clip to the statuses that are right for it, from the table with the heading `| speech | clips |`."""
    table = sources.read_text().split("| speech | clips |", 1)[1]
    labels: dict[Path, frozenset[SpeakingStatus]] = {}
    for statuses, listed in re.findall(r"^\| ([a-z].*?) \| (.*) \|$", table, re.MULTILINE):
        allowed = frozenset(SpeakingStatus(name) for name in re.sub(r"\(.*?\)", "", statuses).strip().split(" or "))
        for clip in clips:
            by_kind = clip.suffix == ".gif" and "the gifs" in listed
            if by_kind or re.search(rf"(?<![\w-]){re.escape(clip.stem)}(?![\w-])", listed):
                labels[clip] = allowed
    return labels


def case_labels() -> dict[Path, frozenset[SpeakingStatus]]:
    """Clip to the statuses that are right for it, of the cases that are there."""
    named = {CASES / name: statuses for name, statuses in CASE_LABELS.items()}
    return {path: frozenset(map(SpeakingStatus, statuses)) for path, statuses in named.items() if path.is_file()}


def engines_of(choice: str) -> list[FaceEngine]:
    """The engine of that name; of `both`, insightface where the model store holds its models."""
    if choice != "both":
        return [load_face_engine(choice)]
    engines = [load_face_engine("dlib")]
    try:
        engines.append(load_face_engine("insightface"))
    except ModelMissing as error:
        print(f"dlib alone: {error}", file=sys.stderr)
    return engines


def judge(clip: Path, allowed: frozenset[SpeakingStatus], engine: FaceEngine) -> dict[str, Any]:
    """Measure and decide one clip."""
    started_s, cpu_started_s = time.perf_counter(), time.process_time()
    row = measure_speech(clip, engine).as_row()
    decision = decide(row)
    return {
        "clip": clip.name,
        "label": " or ".join(sorted(allowed)),
        "status": decision.status,
        "reason": decision.reason,
        "right": decision.status in allowed,
        "wall_s": time.perf_counter() - started_s,
        "cpu_s": time.process_time() - cpu_started_s,
    } | {name: row[name] for name in MEASURES}


MEASURES = (
    "voice_share",
    "mouth_range",
    "mouth_measurable_share",
    "mouth_yaw_abs_median_deg",
    "several_faces_share",
    "lip_audio_correlation",
    "lip_audio_offset_s",
    "lip_audio_z",
)


def summarise(judged: list[dict[str, Any]], mouth: str | None) -> dict[str, Any]:
    """The bars, the confusion table and the cost."""
    decided = [row for row in judged if row["status"] != SpeakingStatus.UNDECIDABLE]
    # Labelled with one status and voiced: the clips of one person at a time, all within 30 degrees of the frontal view.
    voiced = [row for row in judged if row["label"] in (SpeakingStatus.ON_SCREEN, SpeakingStatus.OFF_SCREEN)]
    undecidable = [row for row in voiced if row["status"] == SpeakingStatus.UNDECIDABLE]
    voiced_decided = [row for row in voiced if row["status"] != SpeakingStatus.UNDECIDABLE]
    speakers = [row for row in judged if row["label"] == SpeakingStatus.ON_SCREEN]
    closed = [row for row in judged if row["label"] == SpeakingStatus.OFF_SCREEN]
    named = [row for row in judged if row["status"] == SpeakingStatus.ON_SCREEN]
    looked = [row for row in judged if row["status"] != SpeakingStatus.NO_AUDIO]
    return {
        "mouth": mouth,
        "clips": len(judged),
        "speakers": len(speakers),
        "speakers_called_off_screen": [row["clip"] for row in speakers if row["status"] == SpeakingStatus.OFF_SCREEN],
        "closed_mouths_called_on_screen": [row["clip"] for row in closed if row["status"] == SpeakingStatus.ON_SCREEN],
        "named_on_screen": sum(row["clip"] not in CASE_LABELS for row in named),
        "named_on_screen_before": ON_SCREEN_BEFORE.get(mouth or ""),
        "cases_named_on_screen": sorted(row["clip"] for row in named if row["clip"] in CASE_LABELS),
        "speakers_left_undecided": {
            row["clip"]: str(row["reason"]) for row in speakers if row["status"] == SpeakingStatus.UNDECIDABLE
        },
        "decided": len(decided),
        "right_share": sum(row["right"] for row in decided) / len(decided),
        "voiced_decided": len(voiced_decided),
        "voiced_right_share": sum(row["right"] for row in voiced_decided) / max(1, len(voiced_decided)),
        "undecidable_share": len(undecidable) / len(voiced),
        "derived_wrong": [
            row["clip"]
            for row in judged
            if row["clip"].startswith("derived_") and not row["right"] and row["status"] != SpeakingStatus.UNDECIDABLE
        ],
        "cpu_s_per_clip_with_audio": sum(row["cpu_s"] for row in looked) / len(looked),
        "cpu_s_most": max(row["cpu_s"] for row in judged),
        "confusion": [[*pair, count] for pair, count in sorted(Counter((r["label"], r["status"]) for r in judged).items())],
    }


def show(judged: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """Both tables as text."""
    for row in judged:
        numbers = "  ".join("    -" if row[name] is None else f"{row[name]:5.2f}" for name in MEASURES)
        mark = " " if row["right"] else "x"
        print(f"{mark} {row['clip']:45} {row['status']:12} {row['reason']:22} {numbers}  {row['cpu_s']:5.1f} s")
    print("  (columns: " + ", ".join(MEASURES) + ", CPU seconds)\n")
    print(f"engine: {summary['engine']}, mouth: {summary['mouth']}\n")
    statuses = list(SpeakingStatus)
    print(f"{'label':26}" + "".join(f"{status:>13}" for status in statuses))
    for label in sorted({row["label"] for row in judged}):
        counts = Counter(row["status"] for row in judged if row["label"] == label)
        print(f"{label:26}" + "".join(f"{counts[status]:>13}" for status in statuses))
    print(
        f"\nright among the decided   {summary['right_share']:.0%} of {summary['decided']}  (bar: {LEAST_RIGHT_SHARE:.0%})"
        f"\n  on or off screen only   {summary['voiced_right_share']:.0%} of {summary['voiced_decided']}"
        f"\nundecidable               {summary['undecidable_share']:.0%}  (bar: at most {MOST_UNDECIDABLE_SHARE:.0%})"
        f"\nspeakers called off screen {', '.join(summary['speakers_called_off_screen']) or 'none'}  (bar: none)"
        f"\nclosed mouths called on screen {', '.join(summary['closed_mouths_called_on_screen']) or 'none'}  (bar: none)"
        f"\nnamed on screen           {summary['named_on_screen']} of testdata (before: {summary['named_on_screen_before']}), "
        f"and of the cases {', '.join(summary['cases_named_on_screen']) or 'none'}"
        f"\nspeakers left undecided   "
        f"{', '.join(f'{clip} ({reason})' for clip, reason in summary['speakers_left_undecided'].items()) or 'none'}"
        f"\nderived clips wrong       {len(summary['derived_wrong'])}  (bar: 0)"
        f"\nCPU seconds a clip        {summary['cpu_s_per_clip_with_audio']:.1f} where there is sound"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=("dlib", "insightface", "both"), default="both", help="face engines that look")
    parser.add_argument("--json", action="store_true", help="print one object instead of tables")
    arguments = parser.parse_args()
    if not TESTDATA.is_dir():
        print("The labelled clips (../shared/testdata beside the checkout) are absent: nothing to judge.", file=sys.stderr)
        return 1
    labels = read_labels(TESTDATA / "SOURCES.md", sorted((TESTDATA / "clips").iterdir())) | case_labels()
    summaries = []
    for engine in engines_of(arguments.engine):
        judged = [judge(clip, allowed, engine) for clip, allowed in labels.items()]
        judged.sort(key=lambda row: (row["label"], row["clip"]))
        summaries.append({"engine": engine.info.name} | summarise(judged, engine.info.mouth) | {"rows": judged})
        if not arguments.json:
            show(judged, summaries[-1])
    if arguments.json:
        print(json.dumps({"engines": summaries}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
