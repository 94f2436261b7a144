"""From pixels and words to the tensors that models read, by frozen networks alone; the same for a cached clip and a live request.

Belongs here: video, captions, faces, first frames, encoded. Not here: where the results are kept (`clips`).
"""
