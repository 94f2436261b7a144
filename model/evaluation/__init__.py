"""Evaluation: a bench of persons that no model was trained on, measures of what a model draws of them, and how sure they are.

Belongs here: kernels without Dagster: the bench's records, measures of frames, statistics. Not here: which clips make a bench,
the processes that draw it, tables, gates and pages (`lafid_assets.release`).
"""
