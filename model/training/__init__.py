"""One run, from cached clips to a checkpoint; begin with `train`, the loop.

Belongs here: what a step learns from, how it computes, what it survives and what it tells. Not here: what is trained
(`face_branch`), what becomes of the checkpoint (`release`), Dagster and MLflow (`resources.trainer`).
"""
