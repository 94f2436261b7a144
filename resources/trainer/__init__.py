"""Training as a process of its own, launched from Dagster by Pipes.

worker (`client`) -> `supervisor` -> trainer (`child`). Belongs here: launching, supervising and listening to the trainer;
only here do Dagster's Pipes and MLflow become the report callback that `model.training.train` takes. Not here: training
itself (`model`).
"""
