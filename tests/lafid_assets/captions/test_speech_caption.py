"""The caption says who speaks, contradicts it nowhere, and keeps everything else."""

# ruff: noqa: RUF001 (letters of other scripts are meant)
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lafid_assets.captions.speech_caption import REWRITER, refine_caption
from lafid_assets.speech.speaking_status import SpeakingStatus

ON, OFF = SpeakingStatus.ON_SCREEN, SpeakingStatus.OFF_SCREEN
SILENT, NO_AUDIO, UNDECIDABLE = SpeakingStatus.SILENT, SpeakingStatus.NO_AUDIO, SpeakingStatus.UNDECIDABLE
SENTENCES = {
    ON: "The person on screen is speaking.",
    OFF: "A voice is heard from off screen while the person's mouth stays closed.",
    SILENT: "No voice is heard.",
    NO_AUDIO: "The clip has no sound.",
    UNDECIDABLE: None,
}


@pytest.mark.parametrize("status", SpeakingStatus)
def test_one_sentence_states_the_status(status):
    refined = refine_caption("A woman in a red coat stands by a door.", status)
    sentence = SENTENCES[status]
    assert refined.sentence == sentence
    assert refined.text == "A woman in a red coat stands by a door." + (f" {sentence}" if sentence else "")
    assert refined.removed == []
    assert refined.rewriter == REWRITER


@pytest.mark.parametrize("status", SpeakingStatus)
@pytest.mark.parametrize("caption", [None, "", "  "])
def test_no_caption_becomes_the_sentence_alone(caption, status):
    assert refine_caption(caption, status).text == SENTENCES[status]


@pytest.mark.parametrize(
    ("status", "caption", "kept"),
    [
        (
            SILENT,
            "A man in a suit is speaking to the camera. He wears a tie.",
            "A man in a suit is facing the camera. He wears a tie.",
        ),
        (SILENT, "A man is talking. He wears a tie.", "He wears a tie."),
        (SILENT, "A narrator speaks over the scene. A boy runs.", "A boy runs."),
        (OFF, "A woman walks by the sea while talking to a friend.", "A woman walks by the sea with a friend."),
        (OFF, "A narrator speaks over the scene. A boy runs.", "A narrator speaks over the scene. A boy runs."),
        (OFF, "She smiles. No voice is audible.", "She smiles."),
        (ON, "A woman is silent, looking out of the window.", "A woman is shown, looking out of the window."),
        (ON, "A man speaks to the camera.", "A man speaks to the camera."),
        (ON, "He sits still. There is no dialogue.", "He sits still."),
        (SILENT, "A woman is silent.", "A woman is silent."),
        (NO_AUDIO, "A man speaks to the camera.", "A man speaks to the camera."),
        (UNDECIDABLE, "A man speaks. A woman is silent.", "A man speaks. A woman is silent."),
    ],
)
def test_contradictions_go_and_facts_stay(status, caption, kept):
    refined = refine_caption(caption, status)
    sentence = SENTENCES[status]
    assert refined.text == (f"{kept} {sentence}" if sentence else kept)
    assert bool(refined.removed) == (kept != caption)


def test_a_claim_that_a_cut_lays_bare_goes_too():
    refined = refine_caption("He speaks to a man speaking to a crowd, talking and talking.", SILENT)
    assert refined.text == "He is shown with a man facing a crowd. No voice is heard."


def test_lips_that_move_in_silence_keep_what_is_seen():
    caption = "A man talks to the camera. A narrator speaks."
    refined = refine_caption(caption, SILENT, lips_move=True)
    assert refined.text == "A man talks to the camera. No voice is heard."
    assert refined.removed == ["A narrator speaks."]


@pytest.mark.parametrize(
    ("caption", "kept"),
    [
        ("A man smiles and remains silent.", "A man smiles."),
        ("A woman stands still, with her mouth closed.", "A woman stands still."),
        ("He waves. Nobody speaks.", "He waves."),
    ],
)
def test_lips_that_move_in_silence_are_never_said_to_be_still(caption, kept):
    assert refine_caption(caption, SILENT, lips_move=True).text == f"{kept} No voice is heard."
    assert refine_caption(caption, SILENT).text == f"{caption} No voice is heard."


def test_what_is_left_of_the_original_is_told_apart_from_the_sentence():
    refined = refine_caption("A man is talking. He wears a tie.", SILENT)
    assert (refined.kept, refined.sentence) == ("He wears a tie.", "No voice is heard.")
    assert refine_caption("A man is talking.", SILENT).kept == ""


def test_nobody_is_never_said():
    for status in SpeakingStatus:
        for lips_move in (False, True):
            text = refine_caption("A man talks.", status, lips_move=lips_move).text
            assert "nobody" not in text.lower()


def test_the_language_is_named_where_it_is_known():
    assert refine_caption(None, ON, transcript_language="fr").text == "The person on screen is speaking French."
    assert refine_caption(None, ON, transcript_language="xx").text == SENTENCES[ON]
    assert refine_caption(None, OFF, transcript_language="fr").text == SENTENCES[OFF]


def test_another_status_replaces_the_sentence():
    spoken = refine_caption("A man smiles.", ON, transcript_language="en").text
    assert refine_caption(spoken, SILENT).text == "A man smiles. No voice is heard."
    assert refine_caption(spoken, UNDECIDABLE).text == "A man smiles."


@pytest.mark.parametrize(
    ("caption", "ended"),
    [
        ("一个女人正在微笑。", "一个女人正在微笑。"),
        ("一个女人正在微笑", "一个女人正在微笑。"),
        ("彼女は「おはよう」と手を振る！", "彼女は「おはよう」と手を振る！"),
        ("彼女は笑っている。」", "彼女は笑っている。」"),
        ("एक महिला मुस्कुरा रही है।", "एक महिला मुस्कुरा रही है।"),
        ("एक महिला मुस्कुरा रही है", "एक महिला मुस्कुरा रही है।"),
        ("هل تبتسم؟", "هل تبتسم؟"),
        ("امرأة تبتسم", "امرأة تبتسم."),
        ("여자가 웃는다", "여자가 웃는다."),
        ("Eine Frau lächelt …", "Eine Frau lächelt …"),
        ("ایک عورت مسکرا رہی ہے", "ایک عورت مسکرا رہی ہے۔"),
        ("زنی لبخند می‌زند", "زنی لبخند می‌زند."),
        ("她举着一块牌子【你好。】", "她举着一块牌子【你好。】"),
        ("她在读《再见。》", "她在读《再见。》"),
        ("她说『他说「好。」』", "她说『他说「好。」』"),
        ("**A woman smiles.**", "**A woman smiles.**"),
        ('A sign reads "(Do not enter.)"', 'A sign reads "(Do not enter.)"'),
        ("Auf dem Schild steht „Halt.“", "Auf dem Schild steht „Halt.“"),
        ("Elle lit « Merci. »", "Elle lit « Merci. »"),
        ('A sign reads "open"', 'A sign reads "open".'),
        ("A woman smiles:", "A woman smiles."),
        ("A woman smiles , ", "A woman smiles."),
        ("A woman smiles -", "A woman smiles."),
        ("一个女人正在微笑，", "一个女人正在微笑。"),
        ("彼女は笑っている、", "彼女は笑っている。"),
        ("امرأة تبتسم،", "امرأة تبتسم."),
    ],
)
def test_a_sentence_ends_as_its_script_does(caption, ended):
    refined = refine_caption(caption, ON)
    assert refined.text == f"{ended} {SENTENCES[ON]}"
    assert refine_caption(refined.text, SILENT).text == f"{ended} {SENTENCES[SILENT]}"


@pytest.mark.parametrize(
    ("caption", "kept"),
    [
        ('A sign reads "he is talking."', 'A sign reads "he is shown."'),
        ("**A man talks to the camera.** He wears a tie.", "**A man faces the camera.** He wears a tie."),
        ("A man is talking to her:", "A man is shown with her."),
    ],
)
def test_a_sentence_that_loses_a_claim_keeps_its_end(caption, kept):
    assert refine_caption(caption, SILENT).text == f"{kept} No voice is heard."


def test_marks_alone_are_no_statement():
    assert refine_caption(" , ", SILENT).text == "No voice is heard."
    assert refine_caption("A man smiles,", UNDECIDABLE).text == "A man smiles,"


@pytest.mark.parametrize("space", [" ", "\n", "\u3000"])
def test_a_long_run_of_spaces_is_no_work(space):
    """100,000 spaces would take an hour where a pattern is tried from each of them; a claim across them is found all the same."""
    gap = space * 100_000
    assert refine_caption(f"A man is{gap}talking. He{gap}smiles.", SILENT).text == f"He{gap}smiles. No voice is heard."


PLAIN = [
    "A woman in a red coat stands by a window.",
    "The background shows a city at night!",
    'A sign reads "open" (in green letters).',
    "He holds a cup, and his hair is short.",
    "Dr. Smith's office has 3 chairs.",
    "The English-speaking host wears a hat.",
    "Her expression speaks volumes.",
    "Is the room bright?",
]
CLAIMS = [
    "The man is talking to the camera.",
    "She speaks softly to her friend and smiles.",
    "He is silent.",
    "A narrator talks.",
    "They stand there without saying a word.",
    "There is no dialogue.",
    "As he speaks, his hands move.",
]
WORDS = [
    "the",
    "a",
    "man",
    "talking",
    "speaks",
    "to",
    "with",
    "very",
    "about",
    "silent",
    ",",
    ".",
    "is",
    "are",
    "he",
    "as",
    "while",
]
PROSE = st.lists(st.sampled_from(PLAIN + CLAIMS), max_size=6)


@settings(max_examples=150, deadline=None)
@given(PROSE, st.sampled_from(SpeakingStatus), st.booleans())
def test_sentences_without_claims_survive_to_the_letter_in_order(sentences, status, lips_move):
    text = refine_caption(" ".join(sentences), status, lips_move=lips_move).text or ""
    at = 0
    for sentence in sentences:
        if sentence in PLAIN:
            found = text.find(sentence, at)
            assert found >= 0, (sentence, text)
            at = found + len(sentence)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join), PROSE.map(" ".join), st.text(max_size=40)),
    st.sampled_from(SpeakingStatus),
)
def test_refining_again_changes_nothing(caption, status):
    refined = refine_caption(caption, status)
    again = refine_caption(refined.text, status)
    assert again.text == refined.text
    assert again.removed == []
