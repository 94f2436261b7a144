"""Runs: Dagster's instance and launcher, what a run is told before it begins, and what is said when it fails."""
