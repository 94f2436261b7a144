"""Captions: what a clip's caption may say, rewritten by rules or by a language model, or written from frames.

`speech_caption` rewrites by rules; `llm_rewriter` and `frame_captions` ask a language model through `chat_endpoint` where one is
configured. Not here: who speaks (`speech`), and the asset that joins both (`speech.speech_tagged_clips`).
"""
