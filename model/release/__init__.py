"""A trained model as others hold it: its checkpoint, its MLflow package, the pipeline that draws with it.

Belongs here: what leaves the house. Not here: how it was trained (`training`).
"""
