"""What captions say about speech in English, and how to take it out of a sentence.

Belongs here: the phrases that claim that someone speaks or that nobody does, and the cut that leaves a sentence without
them. Not here: which claim contradicts which speaking status, and the sentence that is added (`speech_caption`).

Captions of OpenHumanVid are descriptive prose ("A man in a suit is speaking to the camera while ..."), so a grammar of a
few phrase forms reaches most of it. A cut keeps every other fact of its sentence: company ("talks to her friend" becomes
"is shown with her friend"), direction ("talks to the camera" becomes "faces the camera"), place and appearance.
"""

import re
from collections.abc import Callable, Sequence

_MARKS = ".!?\u2026\u3002\uff0e\uff61\uff01\uff1f\u061f\u06d4\u0964\u0965\u0589\u1362\u1367\u104b\u17d4\u17d5\u0f0d"
"""What ends a sentence: Latin, Chinese and Japanese, Arabic and Urdu, Indic, Armenian, Ethiopic, Burmese, Khmer, Tibetan."""
_CLOSER = (
    "[\"'*_)}\\]\u00bb\u00ab\u203a\u2039\u201d\u201c\u2019\u2018"
    "\u300d\u300f\u3011\u3015\u3017\u3019\u300b\u3009\uff09\uff3d\uff5d]"
)
"""What may stand behind it: closing quotation marks, brackets and emphasis. German closes with what opens elsewhere."""
SENTENCE_ENDS = [f"[{_MARKS}]{behind}" for behind in ("", _CLOSER, _CLOSER * 2, _CLOSER * 3, rf"\s{_CLOSER}")]
"""Patterns of how a sentence ends. Each is of one width, so that it can be looked for behind a place."""
SENTENCE_END = re.compile(f"(?:{'|'.join(SENTENCE_ENDS)})$")
PAUSES = " ,;:\u2013\u2014-\u3001\uff0c\uff1b\uff1a\u060c\u061b"
"""What stands between the parts of a sentence and ends none."""

_EVENT = r"(?:an?\s+|the\s+)?(?:\w+\s+)?(?:speech|talk|lecture|interview|conversation|discussion|dialogue|chat)\b"
_GERUND = (
    r"(?:(?:talking|speaking|chatting|conversing|lecturing|narrating|vlogging|singing)\b"
    rf"|(?:giving|delivering|holding|having|engaging\s+in|engaged\s+in)\s+{_EVENT})"
)
_SINGULAR = (
    r"(?:(?:talks|speaks|chats|converses|lectures|narrates|sings)\b(?!\s+(?:volumes|for\s+itself))"
    rf"|(?:gives|delivers|holds|has|engages\s+in)\s+{_EVENT})"
)
_PLURAL = rf"(?:(?:talk|speak|chat|converse|sing)\b|(?:give|deliver|hold|have|engage\s+in)\s+{_EVENT})"
_PAST = r"(?:talked|spoke|chatted|conversed|lectured|narrated|sang)\b"
_INFINITIVE = r"(?:talk|speak|chat|converse|sing)\b"
_ADVERBS = r"(?:\w+ly\b(?:,?\s+and\s+\w+ly\b)?\s+)?"
_WATCHERS = r"(?:the\s+|an?\s+)?(?:unseen\s+|off-screen\s+)?(?:camera|lens|viewers?|audience|crowd)\b"
_NO_NOUN = (
    r"(?:and|or|but|while|as|with|in|on|at|to|into|about|from|near|by|against|before|after|then|who|which|that|where|when|"
    r"wearing|holding|standing|sitting|using|making|inside|outside|beside|behind|during|\w+ly)\b"
)
_NEXT_VERB = (
    r"(?:(?:is|are|was|were|has|wears|stands|sits|walks|looks|smiles|holds|appears|remains|gestures|leans|moves|turns|faces)\b"
    r"|\w+s\s+(?:an?|the|his|her|their|its)\b)"
)
_NOUN = rf"(?!{_NO_NOUN})[\w'\u2019-]+(?:\s+(?!{_NO_NOUN}|{_NEXT_VERB}|\w+ing\b)[\w'\u2019-]+){{0,4}}"
_COMPLEMENT = (
    r"(?:\s+\w+ly\b(?:,?\s+and\s+\w+ly\b)?)?"
    rf"(?:\s+(?:directly\s+|straight\s+)?(?:to|into|at|towards?)\s+(?P<camera>{_WATCHERS})"
    rf"|\s+(?:to|with|into|through)\s+(?P<company>{_NOUN}))?"
    rf"(?:\s+(?:about|of)\s+{_NOUN}(?:\s+and\s+(?!\w+s\b|\w+ing\b){_NOUN})?)?"
)
_SUBJECT = r"(?:he|she|they|it|the\s+\w+)"

Cut = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


def _with_company(match: re.Match[str]) -> str:
    return f" with {match['company']}" if match["company"] else ""


def _facing(form: str, otherwise: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
    """Direction survives where there is one: `form` ("faces", "facing") and whom; else what `otherwise` gives."""

    def replacement(match: re.Match[str]) -> str:
        if not match["camera"]:
            return otherwise(match)
        return f"{match.groupdict().get('lead') or ''}{form} {match['camera']}"

    return replacement


def _shown(auxiliary: str) -> Callable[[re.Match[str]], str]:
    return lambda match: f"{match.groupdict().get('lead') or ''}{auxiliary}shown{_with_company(match)}"


def _opening(match: re.Match[str]) -> str:
    if match["camera"]:
        verb = f"{match['clause']}is facing" if match["clause"] else f"{match['lead'] or ''}facing"
        return f"{verb} {match['camera']}{match['comma']}"
    return f"with {match['company']}{match['comma']}" if match["company"] else ""


def _relative(match: re.Match[str]) -> str:
    if match["camera"]:
        return f"{match['lead']}facing {match['camera']}{match['comma']}"
    return f"{_with_company(match)}{match['comma']}" if match["company"] else ""


_BE_FORM = r"(?:is|are|was|were)"
_NOT_NEGATED = r"(?<!not )(?<!n't )(?<!without )(?<!one )(?<!nobody )(?<!never )(?<![-\w])"
_BE = r"(?P<lead>\b(?:is|are|was|were|be)\s+(?:(?:also|then|now|still|clearly|actively)\s+)?)"

SPEAKING: tuple[Cut, ...] = (
    # "Talking softly, she ...", "While talking to X, she ...", "As he speaks, she ..."
    (
        _pattern(
            rf"^(?:(?P<lead>(?:while|when)\s+)?{_ADVERBS}{_GERUND}|(?P<clause>(?:as|while|when)\s+{_SUBJECT}\s+)"
            rf"{_ADVERBS}(?:{_BE_FORM}\s+{_GERUND}|{_SINGULAR}|{_PLURAL}|{_PAST})){_COMPLEMENT}(?P<comma>,\s*|$)"
        ),
        _opening,
    ),
    # "starts talking to X", "appears to be speaking", "is about to speak"
    (
        _pattern(
            rf"\b(?:starts|begins|continues|keeps|stops|appears\s+to\s+be|seems\s+to\s+be|is\s+about)\s+(?:on\s+)?{_ADVERBS}"
            rf"(?:{_GERUND}|to\s+{_ADVERBS}{_INFINITIVE}){_COMPLEMENT}"
        ),
        _facing("faces", _shown("is ")),
    ),
    # "..., who is talking to X, ..."
    (_pattern(rf"(?P<lead>,?\s+who\s+(?:is|are)\s+){_ADVERBS}{_GERUND}{_COMPLEMENT}(?P<comma>,|(?=[.;!?]|$))"), _relative),
    # "is talking and gesturing": the other verb takes the auxiliary
    (_pattern(rf"{_BE}{_ADVERBS}{_GERUND}(?:\s+\w+ly\b)?\s+and\s+(?=\w+ing\b)"), lambda match: match["lead"]),
    # "is talking to X", "is seen speaking"
    (_pattern(rf"{_BE}(?:seen\s+|shown\s+)?{_ADVERBS}{_GERUND}{_COMPLEMENT}"), _facing("facing", _shown(""))),
    # "..., while talking to X", "... and talking", "... talking about X"
    (
        _pattern(
            rf"(?P<lead>(?:,?\s+(?:and|while|by)\s+|,\s*|\s+)){_NOT_NEGATED}(?:(?:actively|seemingly)\s+)?{_ADVERBS}{_GERUND}"
            rf"{_COMPLEMENT}(?:\s+and\s+(?=\w+ing\b))?"
        ),
        _facing("facing", lambda match: _with_company(match) + (" " if match[0].endswith(" ") else "")),
    ),
    # "..., as he speaks", "while the man talks to X"
    (
        _pattern(rf"(?P<lead>,?\s+(?:as|while|when)\s+{_SUBJECT}\s+){_ADVERBS}(?:{_SINGULAR}|{_PLURAL}|{_PAST}){_COMPLEMENT}"),
        _facing("faces", _with_company),
    ),
    # "speaks and gestures": the other verb stands alone; "smiles and speaks": likewise
    (_pattern(rf"{_NOT_NEGATED}{_ADVERBS}(?:{_SINGULAR})(?:\s+\w+ly\b)?\s+and\s+(?=\w+s\b)"), ""),
    (_pattern(rf"(?P<lead>,?\s+and\s+(?:then\s+)?){_ADVERBS}{_SINGULAR}{_COMPLEMENT}"), _facing("faces", _with_company)),
    # the main verb
    (_pattern(rf"{_NOT_NEGATED}{_ADVERBS}{_SINGULAR}{_COMPLEMENT}"), _facing("faces", _shown("is "))),
    (_pattern(rf"{_NOT_NEGATED}{_ADVERBS}{_PAST}{_COMPLEMENT}"), _facing("faced", _shown("was "))),
    (
        _pattern(
            r"(?P<lead>\b(?:they|people|men|women|children|(?!(?:his|this|is|was|has|as|its)\b)\w+s)\s+)"
            rf"{_ADVERBS}{_PLURAL}{_COMPLEMENT}"
        ),
        _facing("face", _shown("are ")),
    ),
    # verbs that take the listener as their object
    (_pattern(rf"\baddressing\s+(?P<who>{_WATCHERS})"), lambda match: f"facing {match['who']}"),
    (_pattern(rf"\baddresses\s+(?P<who>{_WATCHERS})"), lambda match: f"faces {match['who']}"),
    # nouns
    (_pattern(r",?\s*\b(?:mid-?(?:speech|sentence|conversation)|in\s+(?:deep\s+)?conversation)\b"), ""),
)
"""Claims that someone speaks, most specific form first."""

_POSSESSIVE = r"(?:his|her|their|its|the)"
_CLOSED = r"(?:\w+ly\s+)?(?:closed|shut|sealed)\b"

_MOUTH_CLOSED = (
    rf"{_POSSESSIVE}\s+(?:\w+['\u2019]s\s+)?(?:mouth|lips)\s+(?:is|are|was|were|remains?|stays?|kept)\s+(?:kept\s+)?{_CLOSED}"
)
_NOT = (
    r"(?:(?P<be>is|are|was|were)\s+not|(?P<contracted>is|are|was|were)n['\u2019]t"
    r"|(?:does|do|did)\s+not|(?:does|do|did)n['\u2019]t|never)"
)
_SAY = (
    rf"(?:(?:speak|talk)(?:s|ing)?\b(?!\s+(?:volumes|for\s+itself)){_COMPLEMENT}"
    r"|(?:say|utter)(?:s|ing)?\s+(?:anything|a\s+(?:single\s+)?word)\b)"
)


def _not_speaking(match: re.Match[str]) -> str:
    if match["camera"]:
        return f"{match['be'] or match['contracted'] or 'is'} facing {match['camera']}"
    return f"{match['be'] or match['contracted'] or 'is'} shown{_with_company(match)}"


SILENT_FACE: tuple[Cut, ...] = (
    # At the sentence's beginning the clause goes with its subject: no article may be left over.
    (_pattern(rf"^{_MOUTH_CLOSED}(?:,?\s+(?:and|but|while|as)\s+|,\s*|$)"), ""),
    (_pattern(rf"^{_MOUTH_CLOSED}"), "The face is shown"),
    (
        _pattern(
            rf",?\s+(?:and\s+)?(?:with\s+)?(?:{_POSSESSIVE}\s+)?(?:mouth|lips)\s+(?:(?:is|are|remains?|stays?)\s+)?{_CLOSED}"
        ),
        "",
    ),
    (_pattern(rf",?\s+(?:but|and)\s+{_NOT}\s+{_SAY}"), _with_company),
    (_pattern(rf"\b{_NOT}\s+{_SAY}"), _not_speaking),
    (_pattern(r",?\s+(?:but|and)\s+(?:is|are|remains?|stays?|keeps?)\s+(?:completely\s+)?(?:silent|quiet)\b"), ""),
    (_pattern(r",?\s+(?:remaining|staying|keeping)\s+(?:completely\s+)?(?:silent|quiet)\b"), ""),
    (_pattern(r"\b(?P<be>is|are|was|were)\s+(?:completely\s+)?silent\b"), lambda match: f"{match['be']} shown"),
    (_pattern(r"\b(?:remains|stays|keeps)\s+(?:completely\s+)?(?:silent|quiet)\b"), "is shown"),
    (_pattern(r",?\s+without\s+(?:speaking|talking|saying\s+(?:a\s+word|anything)|a\s+word)\b"), ""),
    (_pattern(r"(?:,\s*|\s+)(?:in\s+(?:complete\s+)?silence|silently)\b"), ""),
    (_pattern(r"^silently,?\s+|\bsilently\s+"), ""),
    (_pattern(r"(?P<article>\b(?:an?|the|his|her)\s+)silent\s+(?!film|movie|mode|era)"), lambda match: match["article"]),
)
"""Claims that the visible person does not speak."""

NOBODY_SPEAKS: tuple[Cut, ...] = (
    (_pattern(r"(?:^|,?\s+(?:and|but|while)\s+|,\s*)(?:no\s+one|nobody)\s+(?:speaks|talks|is\s+speaking|is\s+talking)\b"), ""),
)
"""Claims that nobody speaks, seen or unseen."""

SILENT_SOUND: tuple[Cut, ...] = (
    (
        _pattern(
            r"(?:^|,?\s+(?:and|but|while|with)\s+|,\s*)(?:there\s+(?:is|are)\s+)?"
            r"no\s+(?:(?:audible|spoken)\s+)?(?:dialogue|speech|speaking|talking|voices?|words?)"
            r"(?:\s+(?:is|are|can\s+be)\s+(?:heard|spoken|audible|present))?\b(?=\s*(?:[.,;!?]|$))"
        ),
        "",
    ),
    *NOBODY_SPEAKS,
)
"""Claims that no voice is heard at all."""

_VOICE_OVER = _pattern(r"\b(?:narrator|narration|voice-?over|voice|announcer|commentator)\b")
_EMPTY = _pattern(
    r"^(?:(?:and|then|but|also|meanwhile|overall)\b,?\s+)?"
    r"(?:(?:he|she|they|it|the|an?|this)\b(?:\s+(?:man|woman|person|people|individual|subject|speaker|host|girl|boy|two))*"
    r"\s*(?:\s(?:then|also))?(?:\s(?:is|are|was|were)(?:\s+shown)?)?)?[\s.,;!?]*$"
)


def mentions_voice_over(sentence: str) -> bool:
    """Whether the sentence's speaker is someone who is heard and not seen."""
    return _VOICE_OVER.search(sentence) is not None


def cut(sentence: str, claims: Sequence[Cut]) -> tuple[str | None, list[str]]:
    """`sentence` without the claims, and the phrases that were taken out as they stood.

    None instead of a sentence when nothing else was said in it; a sentence without such a claim comes back unchanged.
    """
    removed: list[str] = []
    rest = " ".join(sentence.split())  # patterns that begin with a run of spaces would try it from each of them
    ends = SENTENCE_END.search(rest)
    end = ends.group() if ends else ""
    rest = rest[: len(rest) - len(end)]
    for pattern, replacement in claims:
        found = [match.group().strip(" ,") for match in pattern.finditer(rest)]
        if found:
            removed += found
            rest = pattern.sub(replacement, rest)
    if not removed:
        return sentence, []
    rest = re.sub(r"\s+([,.;!?])", r"\1", " ".join(rest.split()))
    rest = re.sub(r",(?:\s*,)+", ",", rest).strip(PAUSES)
    if _EMPTY.match(rest):
        return None, [sentence.strip()]
    return rest[0].upper() + rest[1:] + (end or "."), removed
