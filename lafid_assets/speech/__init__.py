"""Speech: is there a voice, and does the person on screen speak it?

Measures come first: `audio`, `voice`, `lips` with `synchrony`, `transcript` or `transcript_files`; `measures` gathers them.
Decisions come from stored measures: `speaking_status`, and `transcript_gates` with `stock_phrases`; `tagging` applies them row by
row. Not here: the words of a caption (`captions`). Only the two assets know of Dagster.
"""
