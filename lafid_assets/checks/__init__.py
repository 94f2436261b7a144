"""Checks that warn: figures of the dataset, judged by the bounds of `lafid.toml`. Contracts, which block, are the steps' own."""
