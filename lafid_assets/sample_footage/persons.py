"""Who appears in the sample footage: the two sitters as they are, and further persons made of them.

Belongs here: who there is, and by how much each differs from the sitter. Not here: carrying it out on pixels (`face_sheet`).
The further persons were found by hill-climbing in these changes, for distance between dlib's embeddings and for heads that are
still found and posed when turned (`test_persons.py` prints the distances). They are invented faces, not the sitters.
"""

from pydantic import BaseModel, ConfigDict, Field

from lafid_assets.sample_footage.portraits import COLLINS, HOPPER, Portrait


class Proportions(BaseModel):
    """Changes of a face's proportions; 0 leaves everything as it is.

    Lengths and shifts are in half face widths (positive: outwards or down), sizes are relative (0.1 is 10 % more).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    eye_spacing: float = Field(0.0, ge=-0.15, le=0.15, description="Outward shift of each eye.")
    eye_size: float = Field(0.0, ge=-0.3, le=0.3, description="Relative size of the eyes.")
    eye_tilt: float = Field(0.0, ge=-0.3, le=0.3, description="Turn of the eyes in radians, outer corner down.")
    eye_height: float = Field(0.0, ge=-0.15, le=0.15, description="Downward shift of eyes and brows.")
    brow_height: float = Field(0.0, ge=-0.15, le=0.15, description="Downward shift of the brows alone.")
    brow_tilt: float = Field(0.0, ge=-0.3, le=0.3, description="Slope added to the brows, outer end down.")
    nose_width: float = Field(0.0, ge=-0.4, le=0.4, description="Relative width of the nose.")
    nose_length: float = Field(0.0, ge=-0.3, le=0.3, description="Relative length of the nose.")
    mouth_width: float = Field(0.0, ge=-0.3, le=0.3, description="Relative width of the mouth.")
    lips: float = Field(0.0, ge=-0.5, le=0.5, description="Relative height of the lips.")
    mouth_height: float = Field(0.0, ge=-0.15, le=0.15, description="Downward shift of the mouth.")
    jaw_width: float = Field(0.0, ge=-0.3, le=0.3, description="Relative width of the jaw's angle.")
    chin_width: float = Field(0.0, ge=-0.4, le=0.4, description="Relative width of the chin.")
    chin_length: float = Field(0.0, ge=-0.3, le=0.3, description="Downward shift of the chin.")
    face_width: float = Field(0.0, ge=-0.2, le=0.2, description="Relative width of everything.")


class Tone(BaseModel):
    """Changes of colour and skin; 0 leaves everything as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    skin_depth: float = Field(0.0, ge=-0.5, le=1.5, description="Added to the exponent of the skin's lightness.")
    skin_warmth: float = Field(0.0, ge=-10, le=10, description="Shift of the skin towards yellow, CIELAB b.")
    skin_smoothing: float = Field(0.0, ge=0, le=80, description="Range of the bilateral filter over the skin, grey levels.")
    brow_depth: float = Field(0.0, ge=0, le=0.8, description="Share by which the brows are darkened.")
    hair_depth: float = Field(0.0, ge=-0.6, le=2.5, description="Added to the exponent of the lightness of hair and hat.")
    clothes_hue_deg: float = Field(0.0, ge=-180, le=180, description="Turn of the clothes' hue.")


class Person(BaseModel):
    """One identity of the footage."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str
    portrait: Portrait
    voice_pitch_hz: float = Field(gt=0, description="Mean fundamental frequency of the voice.")
    proportions: Proportions = Proportions()
    tone: Tone = Tone()


def _proportions(*figures: float) -> Proportions:
    """By all of the fields, in their order: eyes, brows, nose, mouth, jaw, chin, face."""
    return Proportions(**dict(zip(Proportions.model_fields, figures, strict=True)))


PERSONS: dict[str, Person] = {
    person.name: person
    for person in (
        Person(name="collins", portrait=COLLINS, voice_pitch_hz=200),
        Person(name="hopper", portrait=HOPPER, voice_pitch_hz=170),
        Person(
            name="vega",
            portrait=COLLINS,
            voice_pitch_hz=205,
            proportions=_proportions(
                -0.08, -0.03, -0.03, -0.02, 0.07, -0.08, 0.03, -0.22, -0.08, -0.36, 0.03, 0.07, 0.01, 0.01, 0.01
            ),
            tone=Tone(skin_depth=0.39, skin_warmth=4.1, hair_depth=1.79, clothes_hue_deg=160.0),
        ),
        Person(
            name="lyra",
            portrait=COLLINS,
            voice_pitch_hz=225,
            proportions=_proportions(
                -0.03, -0.15, 0.08, -0.02, 0.02, 0.09, 0.26, 0.14, -0.13, 0.08, -0.01, 0.14, 0.06, 0.17, -0.01
            ),
            tone=Tone(brow_depth=0.43, hair_depth=0.63, clothes_hue_deg=-110.0),
        ),
        Person(
            name="rigel",
            portrait=HOPPER,
            voice_pitch_hz=120,
            proportions=_proportions(
                0.03, -0.18, 0.12, 0.08, -0.05, -0.1, -0.24, -0.22, 0.24, -0.05, 0.06, 0.16, 0.09, 0.22, 0.03
            ),
            tone=Tone(hair_depth=-0.3, skin_depth=0.35),
        ),
        Person(
            name="mira",
            portrait=HOPPER,
            voice_pitch_hz=190,
            proportions=_proportions(
                -0.08, 0.01, -0.03, -0.02, -0.01, -0.02, -0.3, 0.16, -0.17, 0.4, -0.08, 0.05, 0, -0.02, -0.07
            ),
            tone=Tone(skin_depth=0.2, skin_warmth=0.4, hair_depth=1.59, brow_depth=0.2, skin_smoothing=30),
        ),
    )
}
