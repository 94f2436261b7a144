"""Faces: from the pixels of a clip to scores per frame and face. The expensive chapter; it decides nothing."""
