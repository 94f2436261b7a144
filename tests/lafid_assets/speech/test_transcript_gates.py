"""Which segments are believed, and why not."""

from dataclasses import replace

import pytest

from lafid_assets.speech.transcript import TranscriptSegment
from lafid_assets.speech.transcript_gates import TranscriptGates, believed, doubt, dropped, language_of

GOOD = TranscriptSegment(0.0, 3.0, "Ask not what your country can do for you.", "en", -0.3, 0.05)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"text": ""}, "empty"),
        ({"no_speech_prob": 0.9}, "no_speech"),
        ({"avg_logprob": -1.5}, "improbable"),
        ({"text": "thank you " * 20, "end_s": 30.0}, "repetition"),
        ({"text": "so I went there, so I went home, so I went up, so I went in", "end_s": 9.0}, "repetition"),
        ({"end_s": 0.5}, "too_fast"),
        ({"end_s": 0.0}, "too_fast"),
        ({"text": "well " + "abcdefghij" * 5, "end_s": 9.0}, "long_word"),
        ({"text": "Thanks for watching!"}, "stock_phrase"),
        ({"text": "Subtitles by the Amara.org community"}, "stock_phrase"),
        ({"text": "[Music]"}, "stock_phrase"),
        ({"text": "Thanks for watching the children yesterday."}, None),
        ({"avg_logprob": None, "no_speech_prob": None}, None),
        ({"avg_logprob": None, "no_speech_prob": None, "end_s": 0.5}, "too_fast"),
    ],
)
def test_each_gate_names_its_doubt(change, reason):
    segment = replace(GOOD, **change)
    assert doubt(segment, TranscriptGates()) == reason
    assert believed([segment]) == ([] if reason else [segment])
    assert [(one.text, one.reason) for one in dropped([segment])] == ([(segment.text, reason)] if reason else [])


def test_the_same_sentence_over_and_over_is_a_loop_from_the_third_on():
    three = [replace(GOOD, start_s=3.0 * i, end_s=3.0 * i + 3.0) for i in range(3)]
    assert believed(three) == three[:2]
    assert [one.reason for one in dropped(three)] == ["repetition"]


def test_a_gate_can_be_moved():
    assert doubt(replace(GOOD, avg_logprob=-1.5), TranscriptGates(min_avg_logprob=-2.0)) is None


def test_language_is_that_of_most_speech():
    french = replace(GOOD, language="fr", end_s=5.0)
    assert language_of([GOOD, french]) == "fr"
    assert language_of(believed([GOOD, replace(french, avg_logprob=-3.0)])) == "en"
    assert language_of([replace(GOOD, language=None)]) is None
    assert language_of([]) is None
