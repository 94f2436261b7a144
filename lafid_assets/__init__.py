"""The mission, chapter by chapter: from raw clips to a registered model.

Belongs here: the Dagster assets (each in a module that bears its table's name), the pure kernels that they call, the `lafid`
command.
Not here: where things are stored (`resources`), what torch computes (`model`), what runs by itself (`sensors`).
"""
