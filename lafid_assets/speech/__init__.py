"""Speech: is there a voice, and does the person on screen speak it?

Measures first (`audio`, `voice`, `lips` with `synchrony`, `transcript` or `transcript_files`, gathered by
`measures`), decisions from stored measures afterwards (`speaking_status`, `transcript_gates` with `stock_phrases`), and the
caption that says it (`caption` by rules; `llm_rewriter` and `frame_captions` through a `chat_endpoint` where one is configured),
row by row in `tagging`. Only the two assets know of Dagster.
"""
