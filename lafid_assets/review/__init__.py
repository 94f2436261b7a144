"""The review page: persons look at clips and say whether they were decided rightly."""
