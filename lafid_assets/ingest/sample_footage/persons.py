"""Who appears in the sample footage: the two sitters as they are, and further persons made of them.

Belongs here: who there is, and by how much each differs from the sitter. Not here: carrying it out on pixels (`face_sheet`).
The changes of the further persons were searched for by hill-climbing until dlib's embedding told everyone apart (the test
states the distances); they are invented faces, not the sitters.
"""

from pydantic import BaseModel, ConfigDict, Field

from lafid_assets.ingest.sample_footage.portraits import COLLINS, HOPPER, Portrait


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
    proportions: Proportions = Proportions()
    tone: Tone = Tone()


PERSONS: dict[str, Person] = {
    person.name: person
    for person in (
        Person(name="collins", portrait=COLLINS),
        Person(name="hopper", portrait=HOPPER),
    )
}
