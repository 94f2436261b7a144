"""Speech: is there a voice, and does the person on screen speak it?

Measures first (`audio`, `voice`, `lips`, `transcript`, gathered by `measures`), the decision from stored measures
afterwards (`speaking_status`), and the caption that says it (`caption`). Only the two assets know of Dagster.
"""
