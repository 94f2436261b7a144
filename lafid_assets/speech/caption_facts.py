"""The facts of an English caption, as far as words can be compared.

Belongs here: words, stems and the kinds of words on which nothing may change. Not here: what may differ (`caption_validation`).
"""

import re
from collections import Counter


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD = re.compile(r"[A-Za-z\u00c0-\u024f][A-Za-z\u00c0-\u024f'\u2019-]*|\d+(?:[.,:]\d+)*")
_STOP = _set(
    "a an and are as at be been being but by do does for from had has have her here his him he hers i if in into is it its "
    "itself of off on one's onto or our out over own she so some such than that the their them then there these they this those "
    "through to too under up very was we were what when where which while who whose will with within you your also just still "
    "now both each other another same appears appear seems seem shown seen show shows visible video clip image scene"
)
_SPEECH = _set(
    "speak spoke spoken talk say said tell told voice mouth lip silent silence quiet sound audio audible hear heard speech word "
    "dialogue conversation convers chat narrat narrator narration voice-over voiceover off-screen offscreen on-screen onscreen "
    "address explain discuss lectur sing sang whisper shout"
)
_AROUND_SPEECH = _set(
    "screen camera viewer audience person people someone anyone unseen tone language close closed shut move remain stay direct "
    "accompany come came background frame music"
)
_DENIALS = _set("no not never without none nobody nothing neither nor cannot")
_COLOURS = _set(
    "black white red blue green yellow orange purple pink brown grey gray beige gold golden silver violet turquoise navy maroon "
    "teal blond blonde dark light"
)
_SIDES = _set("left right front behind above below")
_NUMBERS = _set("one two three four five six seven eight nine ten eleven twelve several many few dozen")
_MALE = _set("he him his himself man men boy boys male gentleman gentlemen father son brother husband")
_FEMALE = _set("she her hers herself woman women girl girls female lady ladies mother daughter sister wife")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.replace("\u2019", "'"))


def lowered(text: str) -> set[str]:
    """All words in lower case, possessives without their ending."""
    return {word.lower().removesuffix("'s") for word in _words(text)}


def _stem(word: str) -> str:
    """A word without its ending, the same for most forms of it; no word of any language."""
    for ending in ("'s", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word[-1] in "ey" else word


_SPEECH_STEMS = frozenset(map(_stem, _SPEECH))
AROUND_SPEECH = frozenset(map(_stem, _AROUND_SPEECH))
"""Stems that a sentence about speech may bring along."""


def content(text: str) -> dict[str, str]:
    """Stem to word of the words that carry facts; words about speech carry the status, and are judged with it."""
    words = sorted(lowered(text) - _STOP - _DENIALS - _MALE - _FEMALE)
    return {_stem(word): word for word in words if _stem(word) not in _SPEECH_STEMS and len(word) > 1}


def denials(text: str) -> int:
    """How often something is denied."""
    return sum(word.lower() in _DENIALS or word.lower().endswith("n't") for word in _words(text))


def of_kind(text: str, words: frozenset[str]) -> set[str]:
    """Those of `words` that occur; of words for one sex, only whether any does."""
    found = lowered(text) & words
    return {"any"} if found and words in (_MALE, _FEMALE) else found


STRICT = {"colours": _COLOURS, "sides": _SIDES, "men": _MALE, "women": _FEMALE}


def figures(text: str) -> Counter[str]:
    """Numbers in digits or words, each with how often it occurs."""
    return Counter(word.lower() for word in _words(text) if word[0].isdigit() or word.lower() in _NUMBERS)


def names(text: str) -> set[str]:
    """Capitalised words within a sentence, in lower case."""
    inner = re.findall(r"(?<=[\w,;:] )[A-Z\u00c0-\u00de][\w'\u2019-]*", text)
    return {name.lower().removesuffix("'s") for name in inner if name != "I"}
