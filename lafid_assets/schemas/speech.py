"""What is measured of a clip's sound and lips. Scores only; who speaks is decided in `decisions`."""

import polars as pl

from lafid_assets.schemas.columns import (
    BOOL,
    CLIP_ID,
    ENGINE,
    F32,
    F64,
    I16,
    I32,
    OUTCOME,
    SHARD,
    STR,
)
from lafid_assets.steps.contract import Column, TableSchema

SPAN = pl.Struct({"start_s": F64, "end_s": F64})

SEGMENT = pl.Struct({"start_s": F64, "end_s": F64, "text": STR, "language": STR, "avg_logprob": F64, "no_speech_prob": F64})

OFFSET_CORRELATION = pl.Struct({"offset_s": F64, "correlation": F64})

SPEECH_INFO = TableSchema(
    "speech_info",
    "Measures of voice and lips. Scores only, no decision.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        Column("has_audio", BOOL, "whether there is an audio stream", nullable=True),
        Column("audio_duration_s", F64, "length of the audio", nullable=True, minimum=0),
        Column(
            "voice_spans",
            pl.List(SPAN),
            "where the voice activity detector hears a voice, s since the first frame",
            nullable=True,
        ),
        Column("voice_share", F64, "voiced time / audio time", nullable=True, minimum=0, maximum=1.001),
        Column("segments", pl.List(SEGMENT), "transcript; NULL where no speech model is at hand", nullable=True),
        Column("transcriber", STR, "speech model that made the transcript, or file: <name>", nullable=True),
        Column(
            "transcriber_licence",
            STR,
            "licence of that model; NULL without one, unstated of a folder of one's own",
            nullable=True,
        ),
        Column("transcriber_reason", STR, "why this one, or none", nullable=True),
        Column("mouth_model", STR, "what found the lips; NULL without sound or of an engine that finds none", nullable=True),
        Column("mouth_times_s", pl.List(F64), "times at which the mouth was looked at", nullable=True),
        Column(
            "mouth_openings",
            pl.List(F64),
            "mouth opening at these times, NULL where it could not be measured",
            nullable=True,
        ),
        Column("mouth_yaw_deg", pl.List(F32), "yaw of the face at these times, NULL without a pose", nullable=True),
        Column("mouth_runs", pl.List(I32), "number of the stretch in which one face was followed without a break", nullable=True),
        Column("searched_times_s", pl.List(F64), "times at which faces were looked for", nullable=True),
        Column("face_counts", pl.List(I16), "faces at these times", nullable=True),
        Column(
            "sound_energy",
            pl.List(F32),
            "mean log energy of the sound from 1.5 to 3.8 kHz, every 10 ms; NULL without a voice",
            nullable=True,
        ),
        Column(
            "mouth_range", F64, "robust range of the opening within a second; of one mouth_model only", nullable=True, minimum=0
        ),
        Column(
            "mouth_measurable_share",
            F64,
            "share of the looks that gave an opening",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
        Column("mouth_yaw_abs_median_deg", F64, "median |yaw| over the looks", nullable=True, minimum=0, maximum=180),
        Column("face_share", F64, "share of the looks that found a face", nullable=True, minimum=0, maximum=1),
        Column(
            "several_faces_share",
            F64,
            "share of the looks that found more than one",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
        Column(
            "lip_audio_correlation",
            F64,
            "best correlation of opening and log energy of the sound from 1.5 to 3.8 kHz; NULL without voice or movement",
            nullable=True,
            minimum=-1.001,
            maximum=1.001,
        ),
        Column("lip_audio_offset_s", F64, "offset at which it is reached; > 0: the sound comes later", nullable=True),
        Column(
            "lip_audio_correlations",
            pl.List(OFFSET_CORRELATION),
            "correlation of opening and that energy at every offset tried",
            nullable=True,
        ),
        Column(
            "lip_audio_chance",
            pl.List(F64),
            "best correlation of the same lips with the same sound shifted by 1, 2, ... s: what chance reaches",
            nullable=True,
        ),
        Column(
            "lip_audio_z",
            F64,
            "lip_audio_correlation less the mean of lip_audio_chance, in their spread; NULL where the sound is under 3 s",
            nullable=True,
        ),
        Column(
            "measured_from",
            STR,
            "hash of content, code version, engine, speech model, settings and given transcript; NULL when nothing was measured",
            nullable=True,
        ),
        *ENGINE,
        *OUTCOME,
    ),
)
