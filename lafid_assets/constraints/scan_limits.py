"""What the scan's margins mean for a policy: clips that it cannot see, and clips that were dropped wrongly.

Belongs here: pure functions over `face_clips`, decisions and a policy. Not here: the margins (`faces.settings`), the rules
(`policies`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.faces.settings import ScanMargins
from lafid_assets.outcomes import Reason

DROPPED = (pl.col("tier") == "scan") & pl.col("scan_verdict").is_not_null()


@dataclass(frozen=True)
class UnseenClips:
    """Clips that were dropped after a few looks, by a verdict that the policy would not share for certain.

    Attributes:
        by_verdict: verdict of the scan to the number of clips.
    """

    by_verdict: dict[str, int]

    @property
    def count(self) -> int:
        """Clips of all verdicts."""
        return sum(self.by_verdict.values())

    def __str__(self) -> str:
        listed = ", ".join(f"{verdict} {count}" for verdict, count in self.by_verdict.items())
        return (
            f"the policy is looser than the scan's margins: {self.count} clips were dropped by the scan that it might keep "
            f"({listed}); materialize face_info with other margins or with `scan: off` to see them"
            if self.count
            else "no clip was dropped by the scan that the policy might keep"
        )


@dataclass(frozen=True)
class AuditFindings:
    """What the audited clips say of the scan: surveyed although it had found them hopeless."""

    audited: int
    wrongly_dropped: int

    @property
    def rate(self) -> float | None:
        """Share of dropped clips that the policy would have kept; None while nothing was audited."""
        return self.wrongly_dropped / self.audited if self.audited else None


def unseen_by_policy(policy: FacePolicy, face_clips: pl.DataFrame, settings: Mapping[str, str]) -> UnseenClips:
    """Clips on which the policy cannot decide because the scan dropped them under margins that it does not imply.

    Args:
        face_clips: `tier`, `scan_verdict` and `scan_margins_sha256` of `face_clips`.
        settings: hash to margins, as `policy_settings` has them.
    """
    dropped = face_clips.filter(DROPPED).group_by("scan_margins_sha256", "scan_verdict").len()
    unseen: dict[str, int] = {}
    for sha256, verdict, count in dropped.sort("scan_verdict").iter_rows():
        if _IS_LOOSER[Reason(verdict)](policy, ScanMargins.model_validate_json(settings[sha256])):
            unseen[verdict] = unseen.get(verdict, 0) + count
    return UnseenClips(unseen)


def audit(face_clips: pl.DataFrame, decided: pl.DataFrame) -> AuditFindings:
    """How often a clip that the scan found hopeless is kept after all.

    Args:
        decided: rows of `pose_filtered_clips` of the same clips.
    """
    surveyed = face_clips.filter(pl.col("audited") & (pl.col("status") == "ok")).select("clip_id")
    kept = surveyed.join(decided.filter("keep"), on="clip_id", how="semi")
    return AuditFindings(surveyed.height, kept.height)


def _may_keep_no_face(policy: FacePolicy, margins: ScanMargins) -> bool:
    return policy.face_frame_share_min is None or policy.face_frame_share_min < 1 / margins.scan_looks


def _may_keep_several(policy: FacePolicy, margins: ScanMargins) -> bool:
    """A clip is dropped when several faces show in all early looks, hence in that share of the clip."""
    if policy.faces_in_frame_max == 1:
        return False
    certain = min(margins.scan_agreement, margins.scan_early_looks / margins.scan_looks)
    tolerated = policy.several_faces_share_max
    return tolerated is None or tolerated >= certain or policy.prominent_area_ratio > margins.scan_prominent_area_ratio


def _may_keep_small(policy: FacePolicy, margins: ScanMargins) -> bool:
    return policy.face_height_share_min is None or policy.face_height_share_min < margins.scan_min_face_height_share


def _may_keep_still(policy: FacePolicy, margins: ScanMargins) -> bool:
    """The angle between two poses is never greater than the sum of the ranges, so that either threshold will do."""
    asked = max(policy.pose_variation_min_deg or 0.0, policy.pose_spread_min_deg or 0.0)
    return asked < margins.scan_min_pose_variation_deg


def _may_keep_unmoved(policy: FacePolicy, margins: ScanMargins) -> bool:
    """A sum of ranges bounds no spread from below: near profile a few degrees are large ranges of pitch and roll."""
    return _may_keep_still(policy, margins) or (policy.pose_spread_min_deg or 0.0) < margins.scan_min_pose_spread_deg


_IS_LOOSER: dict[Reason, Callable[[FacePolicy, ScanMargins], bool]] = {
    Reason.NO_FACE: _may_keep_no_face,
    Reason.SEVERAL_FACES: _may_keep_several,
    Reason.FACE_TOO_SMALL: _may_keep_small,
    Reason.STATIC: _may_keep_still,
    Reason.POSE_VARIATION_LOW: _may_keep_unmoved,
}
