"""A trained model as others hold it: its checkpoint, its MLflow package, the pipeline that draws with it.

Belongs here: what leaves the house. Not here: how it was trained (`training`).
"""

MANIFEST_FILE = "lafid.json"
"""What says of a checkpoint's folder that it is one; to look for it takes no torch."""
