"""The `lafid` command: a file a command group, each a few lines over the chapters' functions.

Dagster and MLflow are imported inside the commands that need them, so that the base install has the others.
"""
