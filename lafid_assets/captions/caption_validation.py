"""Whether a caption that a language model rewrote can stand for the original.

Belongs here: the checks, all deterministic and all ours. Not here: asking the model (`llm_rewriter`), the grammar of claims about
speech (`speech_phrases`).

What a rewritten caption must keep is what the rules leave of the original: all of it but claims that contradict the speaking
status. Facts are compared as words: content words by their stem, whatever their form, spelling or punctuation, and some kinds
without any tolerance: numbers, colours and what they belong to, sides, who is a man or a woman, names, and how often something is
denied. A paraphrase in other words fails, and the clip keeps the rules' caption: a lost refinement costs less than a wrong fact.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import Field

from lafid_assets.captions.caption_facts import (
    AROUND_SPEECH,
    STRICT,
    coloured,
    content,
    denials,
    figures,
    lowered,
    names,
    of_kind,
)
from lafid_assets.captions.speech_caption import refine_caption
from lafid_assets.captions.speech_phrases import SILENT_FACE, SILENT_SOUND, SPEAKING, Cut, cut
from lafid_assets.speech.speaking_status import SpeakingStatus
from model.strict import StrictModel


class RewriteLimits(StrictModel):
    """How far a rewritten caption may depart from the original. All defaults are ours."""

    min_kept_share: float = Field(0.9, ge=0, le=1, description="Share of the original's content words that must be there.")
    max_added_share: float = Field(
        0.1, ge=0, le=1, description="New content words outside the speaking sentence, as a share of the original's."
    )
    max_added_chars: int = Field(240, ge=0, description="Characters by which the caption may grow, speaking sentence included.")
    max_sentence_words: int = Field(40, ge=4, description="Longest speaking sentence.")
    max_sentence_new_words: int = Field(
        3, ge=0, description="Content words of the speaking sentence that caption, transcript and subject do not explain."
    )


@dataclass(frozen=True)
class Rewrite:
    """What the model proposes: a caption, and the sentence in it that says who speaks."""

    caption: str
    sentence: str


@dataclass(frozen=True)
class Facts:
    """What a rewrite is held against.

    Attributes:
        caption: the original, less what contradicts the status.
        status: who speaks.
        lips_move: for `silent`: the lips are seen to move.
        heard: words that may come in: the believed transcript and the name of its language.
    """

    caption: str
    status: SpeakingStatus
    lips_move: bool
    heard: str


_OFF = r"off[- ]?(?:screen|camera|frame)|unseen|out of (?:view|frame|sight)|not (?:visible|seen|in view)|narrat\w*|voice-?over"
_NO_VOICE = (
    r"no (?:\w+ )?(?:voices?|speech|words?|dialogue|talking|speaking)\b|without (?:a |any )?(?:voice|speech|words?|dialogue)"
)
_NO_SOUND = r"no (?:\w+ )?(?:sound|audio)\b|without (?:any )?(?:sound|audio)|soundless|has no audio"
_SPOKEN = (
    r"\b(?:spe(?:ak|ech)|spoke|talk|say|tell|address|convers|sing|narrat|explain|discuss|lectur|chat|whisper|shout|voice)\w*"
)
_SAYS: dict[SpeakingStatus, re.Pattern[str]] = {
    SpeakingStatus.ON_SCREEN: re.compile(_SPOKEN, re.IGNORECASE),
    SpeakingStatus.OFF_SCREEN: re.compile(_OFF, re.IGNORECASE),
    SpeakingStatus.SILENT: re.compile(_NO_VOICE, re.IGNORECASE),
    SpeakingStatus.NO_AUDIO: re.compile(_NO_SOUND, re.IGNORECASE),
}
_NEVER_SAYS: dict[SpeakingStatus, re.Pattern[str]] = {
    SpeakingStatus.ON_SCREEN: re.compile(f"{_OFF}|{_NO_VOICE}|{_NO_SOUND}", re.IGNORECASE),
    SpeakingStatus.OFF_SCREEN: re.compile(f"{_NO_VOICE}|{_NO_SOUND}", re.IGNORECASE),
    SpeakingStatus.SILENT: re.compile(rf"{_NO_SOUND}|\b(?:nobody|no one)\b", re.IGNORECASE),
    SpeakingStatus.NO_AUDIO: re.compile(_OFF, re.IGNORECASE),
}


def fault(rewrite: Rewrite, facts: Facts, limits: RewriteLimits) -> str | None:
    """Why the rewrite cannot stand for the original (the first reason that applies), or None."""
    caption, sentence = rewrite.caption.strip(), rewrite.sentence.strip()
    if not caption or not sentence:
        return "empty"
    if caption.count(sentence) != 1:
        return "sentence_missing: the speaking sentence does not stand once in the caption"
    if len(caption) > len(facts.caption) + limits.max_added_chars or len(sentence.split()) > limits.max_sentence_words:
        return f"too_long: {len(caption)} characters from {len(facts.caption)}, {len(sentence.split())} words in the sentence"
    rest = caption.replace(sentence, " ")
    return (
        _status_fault(rest, sentence, facts)
        or _lost_or_added(rest, caption, facts, limits)
        or _sentence_fault(sentence, facts, limits)
    )


def _status_fault(rest: str, sentence: str, facts: Facts) -> str | None:
    status = facts.status
    if not _SAYS[status].search(sentence):
        return f"status_missing: the sentence does not say {status}"
    if _NEVER_SAYS[status].search(sentence):
        return f"contradiction: the sentence says otherwise than {status}"
    claims = refine_caption(rest, status, lips_move=facts.lips_move).removed
    claims += cut(sentence, _forbidden_claims(facts))[1]
    return f"contradiction: {claims[0]}" if claims else None


def _forbidden_claims(facts: Facts) -> tuple[Cut, ...]:
    """What the speaking sentence must not claim."""
    match facts.status:
        case SpeakingStatus.ON_SCREEN:
            return (*SILENT_SOUND, *SILENT_FACE)
        case SpeakingStatus.OFF_SCREEN:
            return SILENT_SOUND  # that someone speaks is what it should say, of somebody unseen
        case SpeakingStatus.SILENT:
            return SILENT_FACE if facts.lips_move else SPEAKING
    return ()


def _lost_or_added(rest: str, caption: str, facts: Facts, limits: RewriteLimits) -> str | None:
    before, after = content(facts.caption), content(rest)
    for kind, words in STRICT.items():
        known = of_kind(facts.caption, words)
        if known - of_kind(caption, words) or of_kind(rest, words) - known:
            return f"facts_changed: {kind}"
    painted = coloured(facts.caption)
    if any(thing in painted and not colours <= painted[thing] for thing, colours in coloured(caption).items()):
        return "facts_changed: colours"
    if figures(facts.caption) - figures(caption) or figures(rest) - figures(facts.caption):
        return "facts_changed: numbers"
    if not denials(rest) <= denials(facts.caption) <= denials(caption):
        return "facts_changed: what is denied"
    strange = names(rest) - lowered(facts.caption)
    if strange:
        return f"facts_added: {sorted(strange)[0]}"
    lost = [before[stem] for stem in before.keys() - content(caption).keys()]
    if len(lost) > (1 - limits.min_kept_share) * len(before):
        return f"facts_lost: {_listed(lost)}"
    added = [after[stem] for stem in after.keys() - before.keys()]
    return f"facts_added: {_listed(added)}" if len(added) > limits.max_added_share * len(before) else None


def _sentence_fault(sentence: str, facts: Facts, limits: RewriteLimits) -> str | None:
    known = f"{facts.caption} {facts.heard}"
    for kind, words in STRICT.items():
        if of_kind(sentence, words) - of_kind(known, words):
            return f"facts_added: {kind} in the speaking sentence"
    if figures(sentence) - figures(known):
        return "facts_added: a number in the speaking sentence"
    strange = names(sentence) - lowered(known)
    if strange:
        return f"facts_added: {sorted(strange)[0]} in the speaking sentence"
    said = content(sentence)
    new = [said[stem] for stem in said.keys() - content(known).keys() - AROUND_SPEECH]
    return f"facts_added: {_listed(new)} in the speaking sentence" if len(new) > limits.max_sentence_new_words else None


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)[:5])
