"""The `lafid` command: a file a command group, each a few lines over the chapters' functions.

Whatever a command raises becomes one line that names thing and remedy (`main.run`), so that no command lists its errors.
Dagster and MLflow are imported inside the commands that need them, so that the base install has the others.
"""
