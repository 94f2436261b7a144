"""How tests draw: as trained, and on the CPU whatever the machine has."""

from model.release.drawing_settings import DrawingSettings

ON_CPU = DrawingSettings(device="cpu")
