"""What this project adds to a base: three experts of a face, fused in every block and read by cross-attention (CoFE, MoFE), with
the pose-shared aligner (FaithfulFaces) and multi-view references (Mv2ID).

Belongs here: modules with weights of their own, and how they are attached. Not here: how they are trained (`training`).
"""
