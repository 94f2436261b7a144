"""Sample footage, built on the spot from two public-domain portraits that dependencies carry.

Start reading at `screenplay` (what is filmed), then `build` (how it becomes files). Heads are turned by casting rays at a
surface fitted to a portrait, further persons are made by changing its proportions, voices are synthetic.
"""

from lafid_assets.sample_footage.build import FolderOccupied, build_sample_footage
from lafid_assets.sample_footage.manifest import SampleClip, SampleManifest

__all__ = ["FolderOccupied", "SampleClip", "SampleManifest", "build_sample_footage"]
