"""A clip falls into the size that it covers and whose aspect is nearest."""

from model.clip_size import Bucket, ClipSize


def test_a_clip_is_placed_by_its_aspect_and_by_all_of_its_length() -> None:
    size = ClipSize(frames=81, height=480, width=832, fps=16, shorter_frames=(33, 49), shapes=((832, 480), (624, 624)))
    assert size.bucket == Bucket(81, 480, 832)
    assert len(size.buckets) == 9
    assert size.bucket_for(6.0, 1080, 1920) == Bucket(81, 480, 832)
    assert size.bucket_for(6.0, 1920, 1080) == Bucket(81, 832, 480)
    assert size.bucket_for(3.5, 700, 800) == Bucket(49, 624, 624)
    # From the first frame to the last it is one gap less than frames; at its very end a clip shows nothing any more.
    assert size.bucket_for(5.0, 1080, 1920) == Bucket(49, 480, 832)
    assert size.bucket_for(5.01, 1080, 1920) == Bucket(81, 480, 832)
    assert size.bucket_for(2.0, 1080, 1920) is None
    assert ClipSize(frames=9, height=16, width=16, fps=8).bucket_for(1.2, 100, 900) == Bucket(9, 16, 16)
