"""The five clips of the tests' lake, and what its policies say."""

from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.identity.policies import ConsistencyPolicy
from lafid_assets.policy_settings import settings_row
from lafid_assets.speech.speaking_status import SpeechPolicy
from lafid_assets.speech.tagging import settings_json
from lafid_assets.speech.transcript_gates import TranscriptGates

KEPT, NARROW, FAR, CHANGES, BROKEN = "kept", "narrow", "far", "changes", "broken"
SHARD = "shard-00000-aaaaaaaa"
SETTINGS = {
    "face": FacePolicy().model_dump_json(),
    "person": ConsistencyPolicy().model_dump_json(exclude={"pose_gap"}),
    "speech": settings_json(SpeechPolicy(), TranscriptGates()),
}
POLICY = {name: settings_row(text)[0] for name, text in SETTINGS.items()}
