"""What is measured of a clip's sound and lips. Scores only; who speaks is decided in `decisions`."""

import polars as pl

from lafid_assets.schemas.columns import BOOL, CLIP_ID, ENGINE, F32, F64, I16, I32, OUTCOME, SHARD, STR, maybe, share
from lafid_assets.steps.contract import TableSchema

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
        maybe("has_audio", BOOL, "whether there is an audio stream"),
        maybe("audio_duration_s", F64, "length of the audio", minimum=0),
        maybe("voice_spans", pl.List(SPAN), "where the voice activity detector hears a voice, s since the first frame"),
        maybe("voice_share", F64, "voiced time / audio time", minimum=0, maximum=1.001),
        maybe("segments", pl.List(SEGMENT), "transcript; NULL where no speech model is at hand"),
        maybe("transcriber", STR, "speech model that made the transcript, or file: <name>"),
        maybe("transcriber_licence", STR, "licence of that model; NULL without one, unstated of a folder of one's own"),
        maybe("transcriber_reason", STR, "why this one, or none"),
        maybe("mouth_model", STR, "what found the lips; NULL without sound or of an engine that finds none"),
        maybe("mouth_times_s", pl.List(F64), "times at which the mouth was looked at"),
        maybe("mouth_openings", pl.List(F64), "mouth opening at these times, NULL where it could not be measured"),
        maybe("mouth_yaw_deg", pl.List(F32), "yaw of the face at these times, NULL without a pose"),
        maybe("mouth_runs", pl.List(I32), "number of the stretch in which one face was followed without a break"),
        maybe("searched_times_s", pl.List(F64), "times at which faces were looked for"),
        maybe("face_counts", pl.List(I16), "faces at these times"),
        maybe(
            "sound_energy", pl.List(F32), "mean log energy of the sound from 1.5 to 3.8 kHz, every 10 ms; NULL without a voice"
        ),
        maybe("mouth_range", F64, "robust range of the opening within a second; of one mouth_model only", minimum=0),
        share("mouth_measurable_share", "share of the looks that gave an opening"),
        maybe("mouth_yaw_abs_median_deg", F64, "median |yaw| over the looks", minimum=0, maximum=180),
        share("face_share", "share of the looks that found a face"),
        share("several_faces_share", "share of the looks that found more than one"),
        maybe(
            "lip_audio_correlation",
            F64,
            "best correlation of opening and log energy of the sound from 1.5 to 3.8 kHz; NULL without voice or movement",
            minimum=-1.001,
            maximum=1.001,
        ),
        maybe("lip_audio_offset_s", F64, "offset at which it is reached; > 0: the sound comes later"),
        maybe(
            "lip_audio_correlations", pl.List(OFFSET_CORRELATION), "correlation of opening and that energy at every offset tried"
        ),
        maybe(
            "lip_audio_chance",
            pl.List(F64),
            "best correlation of the same lips with the same sound shifted by 1, 2, ... s: what chance reaches",
        ),
        maybe(
            "lip_audio_z",
            F64,
            "lip_audio_correlation less the mean of lip_audio_chance, in their spread; NULL where the sound is under 3 s",
        ),
        maybe(
            "measured_from",
            STR,
            "hash of content, code version, engine, speech model, settings and given transcript; NULL when nothing was measured",
        ),
        *ENGINE,
        *OUTCOME,
    ),
)
