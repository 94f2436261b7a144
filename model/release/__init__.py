"""A trained model as others hold it: its checkpoint, its MLflow package, the pipeline that draws with it.

Belongs here: what leaves the house. Not here: how it was trained (`training`).
"""

import re

ADDRESS = re.compile(r"models:/(?:(?P<logged>m-[0-9a-f]+)|(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+)))")
"""What names a model of a registry: models:/lafid@champion, models:/lafid/3, or the LoggedModel models:/m-..."""
LOADER = "load_face_branch.py"
"""What `lafid pull` puts beside a checkpoint's parts."""
MANIFEST_FILE = "lafid.json"
"""What says of a checkpoint's folder that it is one; to look for it takes no torch."""
