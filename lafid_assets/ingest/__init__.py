"""Ingest: from a folder of clips to `raw_clips`. Nothing here looks at pixels."""
