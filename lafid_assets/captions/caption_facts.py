"""The facts of an English caption, as far as words can be compared.

Belongs here: words, stems and the kinds of words on which nothing may change. Not here: what may differ (`caption_validation`).
"""

import re
from collections import Counter
from itertools import pairwise, zip_longest


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD = re.compile(r"[A-Za-z\u00c0-\u024f][A-Za-z\u00c0-\u024f'\u2019-]*|\d+(?:[.,:]\d+)*")
_STOP = _set(
    "a an and are as at be been being but by do does for from had has have her here his him he hers i if in into is it its "
    "itself of off on one's onto or our out over own she so some such than that the their them then there these they this those "
    "through to too under up very was we were what when where which while who whose will with within you your also just still "
    "now both each other another same appears appear seems seem shown seen show shows visible video clip image scene "
    "wear wears wearing wore worn dressed"
)
"""What is worn is a fact of its own; that it is worn can be said by `in`."""
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
_COUNTED = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_DIGITS = {word: str(number) for number, word in enumerate(_COUNTED, start=1)}
_SPELT = {"gray": "grey", "blond": "blonde", "tshirt": "shirt", "mustache": "moustache", "center": "centre", "pajamas": "pyjamas"}
_FORMS = (
    "sit sat seated, stand stood, run ran running, lie lay lain lying, hold held, go went gone going, come came coming, "
    "take took taken, make made, give gave given, get got gotten, hang hung, ride rode ridden, drive drove driven, eat ate "
    "eaten, drink drank drunk, write wrote written, throw threw thrown, catch caught, bring brought, buy bought, begin "
    "began begun, shake shook shaken, bend bent, swing swung, rise rose risen, fall fell fallen, think thought, sleep "
    "slept, keep kept, draw drew drawn, blow blew blown, break broke broken, choose chose chosen, feel felt, find found, "
    "fly flew flown flying, grow grew grown, swim swam swum, light lit, sell sold, child children, foot feet, tooth teeth, "
    "knife knives, shelf shelves, scarf scarves, leaf leaves, person people"
)
_IRREGULAR = {form: forms.split()[0] for forms in _FORMS.split(",") for form in forms.split()[1:]}
"""Forms of words of captions that no ending gives away."""
_MALE = _set("he him his himself man men boy boys male gentleman gentlemen father son brother husband")
_FEMALE = _set("she her hers herself woman women girl girls female lady ladies mother daughter sister wife")


def _words(text: str) -> list[str]:
    """The words, in order. Words joined by a hyphen count apart (`navy-blue`), but for those about speech (`off-screen`)."""
    found = _WORD.findall(text.replace("\u2019", "'"))
    return [part for word in found for part in ([word] if word.lower() in _SPEECH else word.split("-")) if part]


def _plain(word: str) -> str:
    lower = word.lower().removesuffix("'s")
    return _SPELT.get(lower, lower)


def lowered(text: str) -> set[str]:
    """All words in lower case and one spelling, possessives without their ending."""
    return {_plain(word) for word in _words(text)}


def _stem(word: str) -> str:
    """A word without its ending, the same for most forms of it; no word of any language."""
    word = _IRREGULAR.get(word, word).replace("our", "or")
    for ending in ("'s", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word[-1] in "eyi" else word


_SPEECH_STEMS = frozenset(map(_stem, _SPEECH))
AROUND_SPEECH = frozenset(map(_stem, _AROUND_SPEECH))
"""Stems that a sentence about speech may bring along."""


def content(text: str) -> dict[str, str]:
    """Stem to word of the words that carry facts; words about speech carry the status, and are judged with it."""
    words = sorted(lowered(text) - _STOP - _DENIALS - _NUMBERS - _MALE - _FEMALE)
    return {_stem(word): word for word in words if _carries(word)}


def _carries(word: str) -> bool:
    return len(word) > 1 and not word[0].isdigit() and not _denies(word) and _stem(word) not in _SPEECH_STEMS


def _denies(word: str) -> bool:
    return word in _DENIALS or word.endswith("n't")


def denials(text: str) -> int:
    """How often something is denied."""
    return sum(_denies(word.lower()) for word in _words(text))


def of_kind(text: str, words: frozenset[str]) -> set[str]:
    """Those of `words` that occur; of words for one sex, only whether any does."""
    found = lowered(text) & words
    return {"any"} if found and words in (_MALE, _FEMALE) else found


STRICT = {"colours": _COLOURS, "sides": _SIDES, "men": _MALE, "women": _FEMALE}


def figures(text: str) -> Counter[str]:
    """Numbers, in digits where they can be written so, each with how often it occurs."""
    words = [word.lower() for word in _words(text)]
    counted = [
        word for word, after in zip_longest(words, words[1:]) if (word, after) != ("one", "of")
    ]  # `one of them` counts none
    return Counter(_DIGITS.get(word, word) for word in counted if word[0].isdigit() or word in _NUMBERS)


def coloured(text: str) -> dict[str, set[str]]:
    """Stem of what directly follows a colour to its colours."""
    found: dict[str, set[str]] = {}
    words = [_plain(word) for word in _words(text)]
    for colour, thing in pairwise(words):
        if colour in _COLOURS and thing not in _COLOURS | _STOP:
            found.setdefault(_stem(thing), set()).add(colour)
    return found


def names(text: str) -> set[str]:
    """Capitalised words within a sentence, in lower case."""
    inner = re.findall(r"(?<=[\w,;:] )[A-Z\u00c0-\u00de][\w'\u2019-]*", text)
    return {_plain(part) for name in inner if name != "I" for part in _words(name)}
