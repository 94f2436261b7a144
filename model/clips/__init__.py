"""Encoded clips on disk and in a run: parts in shards, the list that names them, the set that training reads batches from.

Belongs here: files and reading. Not here: how tensors come about (`encoding`), what a step draws (`training.sampling`).
"""
