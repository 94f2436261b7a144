"""The model half of LaFID: torch, diffusers and the frozen encoders.

Belongs here: everything needed to train, load and run a model, and the face engines that both the model and curation read.
Not here: Dagster, storage, tables, the command line.
"""
