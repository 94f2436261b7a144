"""The caption that says who speaks.

Belongs here: `refine_caption`, the deterministic rewriter by rules. Not here: the grammar of its cuts (`speech_phrases`),
the decision who speaks (`speaking_status`).

The step is CoFE's Speech Disambiguation ("enriches captions with explicit speaking-status descriptions"), for which its
authors use an LLM. `llm_rewriter` gives the same `RefinedCaption` and falls back to this one.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from lafid_assets.captions.speech_phrases import (
    NOBODY_SPEAKS,
    PAUSES,
    SENTENCE_END,
    SENTENCE_ENDS,
    SILENT_FACE,
    SILENT_SOUND,
    SPEAKING,
    Cut,
    cut,
    mentions_voice_over,
)
from lafid_assets.speech.speaking_status import SpeakingStatus

REWRITER = "rules-4"
"""Recorded with every caption; the number rises when the same input would give another text."""

_SENTENCES: dict[SpeakingStatus, str] = {
    SpeakingStatus.ON_SCREEN: "The person on screen is speaking.",
    SpeakingStatus.OFF_SCREEN: "A voice is heard from off screen while the person's mouth stays closed.",
    SpeakingStatus.SILENT: "No voice is heard.",
    SpeakingStatus.NO_AUDIO: "The clip has no sound.",
}
_LANGUAGE_SENTENCE = "The person on screen is speaking {language}."
_ANY_LANGUAGE = re.escape(_LANGUAGE_SENTENCE).replace(r"\{language\}", r"[A-Z][\w ]{1,30}")
_OWN = re.compile("|".join([*map(re.escape, _SENTENCES.values()), _ANY_LANGUAGE]))
_BETWEEN_SENTENCES = re.compile(rf"(?:{'|'.join(f'(?<={end})' for end in SENTENCE_ENDS)})(\s+)(?=[\"'\u201c\u2018(]?[A-Z0-9])")
_FULL_STOPS = {
    **dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "BOPOMOFO"), "\u3002"),
    **dict.fromkeys(("DEVANAGARI", "BENGALI", "GURMUKHI", "ORIYA"), "\u0964"),
    **{"ARMENIAN": "\u0589", "ETHIOPIC": "\u1362", "MYANMAR": "\u104b", "KHMER": "\u17d4", "TIBETAN": "\u0f0d"},
}
"""What ends a statement, by the first word of the Unicode name of its last letter; a full stop in every other script."""
_URDU = re.compile("[\u0679\u0688\u0691\u06ba\u06c1\u06d2]")
"""Letters that Arabic and Persian lack. Their sentences end with a full stop, those of Urdu do not."""


@dataclass(frozen=True)
class RefinedCaption:
    """A caption and what was done to it.

    Attributes:
        text: the refined caption; None where there was none and nothing can be said.
        sentence: the sentence about the speech that stands at its end; None where nothing is known.
        removed: phrases and sentences of the original that contradicted the status, as they stood, in order.
        kept: the original without them; empty where nothing is left.
        rewriter: what made it.
    """

    text: str | None
    sentence: str | None
    removed: list[str]
    kept: str
    rewriter: str = REWRITER


def refine_caption(
    caption: str | None, status: SpeakingStatus, *, lips_move: bool = False, transcript_language: str | None = None
) -> RefinedCaption:
    """The caption without what contradicts `status`, and with one sentence that states it.

    Sentences that say nothing about speech survive to the letter. `undecidable` adds and removes nothing: what is not
    known contradicts nothing. Neither does `no_audio` remove anything: without sound, a caption that lets somebody talk
    tells of moving lips. Refining a refined caption again changes nothing, and another status replaces the sentence.

    Args:
        caption: English prose, or None.
        status: who speaks.
        lips_move: for `silent`: the lips move though no voice is heard, so "talks" stays as what is seen, and "is silent" goes.
        transcript_language: code of the language that is spoken ("en"), where a transcript is believed.
    """
    sentence = _sentence(status, transcript_language)
    kept, removed = _pass((caption or "").strip(), status, lips_move)
    taken = removed
    while taken:  # a cut can lay bare another claim; each takes words out, so this ends
        kept, taken = _pass(kept, status, lips_move)
        removed = removed + taken
    said = [kept] if sentence is None else [_ended(kept), sentence]
    return RefinedCaption(" ".join(filter(None, said)) or None, sentence, removed, kept)


def _ended(text: str) -> str:
    """`text` as a statement that has come to its end, as its script marks it; empty where nothing is said in it."""
    if SENTENCE_END.search(text):
        return text
    text = text.rstrip(PAUSES)
    last = next((char for char in reversed(text) if char.isalpha()), "a")
    script = unicodedata.name(last, "").partition(" ")[0]
    stop = "\u06d4" if script == "ARABIC" and _URDU.search(text) else _FULL_STOPS.get(script, ".")
    return text and text + stop


def _pass(text: str, status: SpeakingStatus, lips_move: bool) -> tuple[str, list[str]]:
    """`text` without its own status sentences and without what one cut a sentence finds, and what was found."""
    pieces = _BETWEEN_SENTENCES.split(text)  # sentence, space, sentence, space, ...
    kept, removed = "", []
    for piece, space in zip(pieces[0::2], ["", *pieces[1::2]], strict=True):
        if _OWN.fullmatch(piece):
            continue
        rest, taken = _without_contradiction(piece, status, lips_move)
        removed += taken
        if rest:
            kept += (space if kept else "") + rest
    return kept, removed


def _sentence(status: SpeakingStatus, language_code: str | None) -> str | None:
    language = language_name(language_code) if language_code else None
    if status is SpeakingStatus.ON_SCREEN and language:
        return _LANGUAGE_SENTENCE.format(language=language)
    return _SENTENCES.get(status)


def _without_contradiction(sentence: str, status: SpeakingStatus, lips_move: bool) -> tuple[str | None, list[str]]:
    voice_over = mentions_voice_over(sentence)
    claims: tuple[Cut, ...] = ()
    match status:
        case SpeakingStatus.ON_SCREEN:
            claims = (*SILENT_SOUND, *SILENT_FACE)
        case SpeakingStatus.OFF_SCREEN:
            claims = SILENT_SOUND if voice_over else (*SILENT_SOUND, *SPEAKING)
        case SpeakingStatus.SILENT if not lips_move:
            claims = SPEAKING
        case SpeakingStatus.SILENT:  # the lips are seen to move; only that no voice is heard stands beside it
            claims = (*(SPEAKING if voice_over else ()), *SILENT_FACE, *NOBODY_SPEAKS)
    rest, removed = cut(sentence, claims)
    if status is SpeakingStatus.SILENT and voice_over and removed:
        return None, [sentence]  # a narrator cannot be "shown" instead
    return rest, removed


@lru_cache
def language_name(code: str) -> str | None:
    """English name of a language that Whisper knows; None for another code."""
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    name = LANGUAGES.get(code)
    return name.title() if name else None
