"""The screenplay: every clip of the sample footage, in one table.

Belongs here: the scenes, their captions and what curation should make of each. Not here: what a scene is made of (`scenes`),
what the persons look like (`persons`). The captions are written like OpenHumanVid's; some contradict the sound on purpose, so
that the caption rewriter has something to correct.
"""

from lafid_assets.outcomes import Reason, Status
from lafid_assets.sample_footage.scenes import STILL, Appearance, Fault, Motion, Scene, Shot, Sound


def _solo(person: str, duration_s: float, motion: Motion | None = None) -> tuple[Shot, ...]:
    """One person who fills the frame."""
    return (Shot(duration_s=duration_s, people=(Appearance(person=person, motion=motion or Motion()),)),)


def _pair(left: str, right: str, duration_s: float) -> tuple[Shot, ...]:
    """Two people side by side, equally prominent."""
    people = (Appearance(person=left, x=0.27, y=0.46, scale=0.8), Appearance(person=right, x=0.73, y=0.46, scale=0.8))
    return (Shot(duration_s=duration_s, people=people),)


def _cut(first: str, second: str) -> tuple[Shot, ...]:
    """One person, then another: each shot a whole turn of the head."""
    turn = Motion(yaw_deg=(-30.0, 30.0), period_s=1.6)
    return _solo(first, 1.6, turn) + _solo(second, 1.6, turn)


KEPT = (
    Scene(
        name="collins tells",
        shots=_solo("collins", 3.5),
        sound=Sound.VOICE,
        lips_move=True,
        caption="The video features a woman with short blonde hair who wears an orange pressure suit with a wide metal collar. "
        "She turns her head slowly from one side to the other and tilts it, smiling as she does. She is silent throughout. "
        "Behind her, coloured surfaces and small lights drift out of focus, which gives the scene a calm, studio-like mood.",
    ),
    Scene(
        name="collins listens",
        shots=_solo("collins", 3.0, Motion(yaw_deg=(36.0, -38.0), roll_deg=(8.0, -8.0), period_s=2.8)),
        fps=25,
        caption="The video features a woman in an orange space suit who looks around a softly lit room. She begins facing the "
        "camera, turns towards one shoulder, then across to the other, and comes back to the middle with a friendly smile. The "
        "background is blurred and moves gently, keeping the attention on her face and her short, wavy hair.",
    ),
    Scene(
        name="hopper narrated",
        shots=_solo("hopper", 3.5, Motion(yaw_deg=(-34.0, 38.0), period_s=3.2)),
        sound=Sound.VOICE,
        caption="The video features an elderly woman in a dark naval uniform with a white-topped cap and cat-eye glasses. She "
        "talks to the camera with a stern expression while her head turns from left to right and tilts to the side. Ribbons "
        "are visible on her jacket. The background is a blur of coloured panels and lights.",
    ),
    Scene(
        name="vega murmurs",
        shots=_solo("vega", 3.25, Motion(yaw_deg=(36.0, -38.0), period_s=3.0)),
        lips_move=True,
        fps=25,
        caption="The video features a person with dark brown hair and a teal suit with a metal ring around the neck. The "
        "person talks to the camera in a lively way, turning the head to both sides as if several people were in the room. "
        "The setting is indoors, with soft light and an out-of-focus background that slides by slowly.",
    ),
    Scene(
        name="lyra looks around",
        shots=_solo("lyra", 3.0, Motion(yaw_deg=(-38.0, 32.0), period_s=2.8)),
        sound=Sound.NO_STREAM,
        caption="The video features a young person with strong eyebrows and light brown hair who wears a violet suit with a "
        "dark collar. The person says nothing and looks around, first to one side, then to the other, nodding lightly. The "
        "background is abstract and blurred, with round highlights, and the camera stays at eye level.",
    ),
    Scene(
        name="lyra answers",
        shots=_solo("lyra", 3.5, Motion(yaw_deg=(32.0, -38.0), roll_deg=(8.0, -8.0), period_s=3.3)),
        sound=Sound.VOICE,
        lips_move=True,
        fps=25,
        caption="The video features a young person with light brown hair and a violet suit in a close shot. The person is "
        "speaking with an open, friendly expression, and the head turns from one side to the other during the explanation. "
        "Behind, a softly blurred room with coloured furniture can be seen.",
    ),
    Scene(
        name="rigel explains",
        shots=_solo("rigel", 5.0, Motion(yaw_deg=(-34.0, 38.0), period_s=3.3)),
        sound=Sound.VOICE,
        lips_move=True,
        caption="The video features an officer with a broad chin and winged glasses, in a navy jacket with a white collar and "
        "a cap with a golden emblem. The mouth is closed and the officer does not say a word, only turning the head from side "
        "to side. The scene is evenly lit; the background is a soft pattern of colours.",
    ),
    Scene(
        name="mira waits",
        shots=_solo("mira", 3.0, Motion(yaw_deg=(38.0, -34.0), period_s=2.9)),
        caption="The video features a person in a dark uniform jacket, white shirt and officer's cap, seen from the chest up. "
        "The person waits, looks to one side and then to the other, and tilts the head a little. Nothing else happens. Large "
        "blurred shapes in the background move slowly past.",
    ),
)

REJECTED = (
    Scene(
        name="empty room",
        shots=(Shot(duration_s=2.0),),
        caption="The video features an interior without people: coloured panels of different heights stand before a soft wall, "
        "and small round lights hang in front of them. The camera glides past slowly and everything is out of focus.",
        status=Status.REJECTED,
        reason=Reason.NO_FACE,
    ),
    Scene(
        name="narrated room",
        shots=(Shot(duration_s=2.5),),
        sound=Sound.VOICE,
        caption="The video features a blurred room while somebody who cannot be seen talks. Panels and lights move through the "
        "picture from left to right; nobody enters the scene, and the light does not change.",
        status=Status.REJECTED,
        reason=Reason.NO_FACE,
    ),
    Scene(
        name="two side by side",
        shots=_pair("collins", "hopper", 2.5),
        size=(640, 480),
        caption="The video features two women side by side, one in an orange space suit and one in a dark naval uniform with "
        "glasses and a cap. Both look around the room and turn their heads from one side to the other.",
        status=Status.REJECTED,
        reason=Reason.SEVERAL_FACES,
    ),
    Scene(
        name="two with a voice",
        shots=_pair("vega", "rigel", 2.5),
        sound=Sound.VOICE,
        size=(640, 480),
        caption="The video features a person in a teal suit and an officer in a navy jacket who stand next to each other. One "
        "of them is talking, and both turn their heads as if they followed something that moves through the room.",
        status=Status.REJECTED,
        reason=Reason.SEVERAL_FACES,
    ),
    Scene(
        name="far away",
        shots=(Shot(duration_s=2.5, people=(Appearance(person="hopper", x=0.4, y=0.72, scale=0.32),)),),
        size=(640, 480),
        caption="The video features an elderly woman in a naval uniform who sits some way off in a large, blurred room. She is "
        "small in the frame and looks around, turning her head first to one side and then to the other.",
        status=Status.REJECTED,
        reason=Reason.FACE_TOO_SMALL,
    ),
    Scene(
        name="collins recites",
        shots=_solo("collins", 2.5, STILL),
        sound=Sound.VOICE,
        lips_move=True,
        caption="The video features a woman with short blonde hair in an orange space suit who faces the camera and speaks "
        "without moving her head. Her expression stays friendly, and only her mouth moves while she talks.",
        status=Status.REJECTED,
        reason=Reason.POSE_VARIATION_LOW,
    ),
    Scene(
        name="hopper sits still",
        shots=_solo("hopper", 2.5, Motion(yaw_deg=(-4.0, 4.0), pitch_deg=(-2.0, 2.0), roll_deg=(-2.0, 2.0))),
        fps=25,
        caption="The video features an elderly woman in a dark naval uniform who sits for a portrait. She looks straight into "
        "the camera and hardly moves; only the blurred background behind her drifts slowly to the side.",
        status=Status.REJECTED,
        reason=Reason.POSE_VARIATION_LOW,
    ),
)

RECORDINGS = (
    Scene(
        name="collins then rigel",
        shots=_cut("collins", "rigel"),
        caption="The video features a woman in an orange space suit who looks from side to side; then the picture changes to "
        "an officer in a naval uniform with glasses, who does the same in front of the same blurred room.",
        status=Status.SKIPPED,
        reason=Reason.SPLIT,
    ),
    Scene(
        name="lyra then hopper",
        shots=_cut("lyra", "hopper"),
        sound=Sound.VOICE,
        lips_move=True,
        fps=25,
        caption="The video features a conversation: first a young person in a violet suit speaks and turns the head, then, "
        "after a cut, an officer with winged glasses and a cap answers. The background stays blurred throughout.",
        status=Status.SKIPPED,
        reason=Reason.SPLIT,
    ),
)

FAULTY = (
    Scene(
        name="vega interrupted",
        shots=_solo("vega", 2.0),
        fault=Fault.TRUNCATED,
        caption="The video features a person with dark brown hair in a teal suit who turns the head from one side to the "
        "other in front of a blurred room with coloured panels and small, round lights.",
        status=Status.ERROR,
        reason=Reason.UNREADABLE,
    ),
    Scene(
        name="never recorded",
        fault=Fault.EMPTY,
        caption="The video features a man in a grey coat who walks along a quay in the evening light, stops beside a lamp post "
        "and looks out over the water, where two small boats pass each other.",
        status=Status.ERROR,
        reason=Reason.EMPTY_FILE,
    ),
    Scene(
        name="lost on the way",
        fault=Fault.NO_FILE,
        caption="The video features two children who build a tower of wooden blocks on a carpet. One of them laughs when the "
        "tower leans to the side, and the other one tries to hold it with both hands.",
        status=Status.SKIPPED,
        reason=Reason.FILE_MISSING,
    ),
    Scene(
        name="mira unlisted",
        shots=_solo("mira", 2.0),
        fault=Fault.NO_ROW,
        caption="",
        status=Status.SKIPPED,
        reason=Reason.NO_ROW,
    ),
)

SCENES: tuple[Scene, ...] = (*KEPT, *REJECTED, *RECORDINGS, *FAULTY)
