"""A rewritten caption stands only where it keeps every fact, adds none and agrees with who speaks."""

import pytest

from lafid_assets.captions.caption_validation import Facts, Rewrite, RewriteLimits, fault
from lafid_assets.captions.speech_caption import refine_caption
from lafid_assets.speech.speaking_status import SpeakingStatus

ON, OFF = SpeakingStatus.ON_SCREEN, SpeakingStatus.OFF_SCREEN
SILENT, NO_AUDIO = SpeakingStatus.SILENT, SpeakingStatus.NO_AUDIO
ORIGINAL = "A man in a red shirt and a black hat stands left of two cups. He is facing the camera without glasses."


def wrong(caption, sentence, status=ON, *, lips_move=False, heard="", original=ORIGINAL):
    return fault(Rewrite(caption, sentence), Facts(original, status, lips_move, heard), RewriteLimits())


@pytest.mark.parametrize(
    ("status", "lips_move", "sentence"),
    [
        (ON, False, "He speaks calmly to the camera."),
        (ON, False, "The man talks in an excited tone."),
        (OFF, False, "Somebody off screen speaks while his mouth stays closed."),
        (OFF, False, "A narrator talks over the scene."),
        (SILENT, False, "No voice is heard."),
        (SILENT, True, "His lips move, but no voice is heard."),
        (NO_AUDIO, False, "The clip has no sound."),
    ],
)
def test_a_sentence_that_says_the_status_is_welcome(status, lips_move, sentence):
    assert wrong(f"{ORIGINAL} {sentence}", sentence, status, lips_move=lips_move) is None


@pytest.mark.parametrize("status", [ON, OFF, SILENT, NO_AUDIO])
def test_the_rules_own_caption_always_stands(status):
    refined = refine_caption(ORIGINAL, status)
    assert wrong(refined.text, refined.sentence, status, original=refined.kept) is None


def test_the_sentence_may_be_one_of_the_original():
    merged = "He speaks, facing the camera without glasses."
    assert wrong(f"A man in a red shirt and a black hat stands left of two cups. {merged}", merged) is None


@pytest.mark.parametrize(
    ("was", "becomes", "reason"),
    [
        ("red", "blue", "facts_changed: colours"),
        ("left of", "right of", "facts_changed: sides"),
        ("two", "three", "facts_changed: numbers"),
        ("two", "", "facts_changed: numbers"),
        ("without glasses", "with glasses", "facts_changed: what is denied"),
        ("A man", "A woman", "facts_changed: women"),
        ("A man", "Barack the man", None),
        ("A man", "The man Barack", "facts_added: barack"),
        ("stands left of two cups", "left of two", "facts_lost: cups, stands"),
        ("cups.", "cups. A dog sleeps on a wooden table.", "facts_added: dog, sleeps, table, wooden"),
    ],
)
def test_changed_facts_are_found(was, becomes, reason):
    assert was in ORIGINAL
    caption = ORIGINAL.replace(was, becomes) + " He speaks."
    found = wrong(caption, "He speaks.")
    assert found == reason if reason else found is None


@pytest.mark.parametrize(
    ("status", "lips_move", "caption", "sentence", "reason"),
    [
        (ON, False, "", "He speaks.", "empty"),
        (ON, False, "{}", "He speaks.", "sentence_missing"),
        (ON, False, "{} He speaks. He speaks.", "He speaks.", "sentence_missing"),
        (ON, False, "{} He waves.", "He waves.", "status_missing"),
        (ON, False, "{} A voice speaks off screen.", "A voice speaks off screen.", "contradiction"),
        (ON, False, "{} He does not speak.", "He does not speak.", "contradiction"),
        (ON, False, "{} He is silent. He speaks.", "He speaks.", "contradiction: He is silent"),
        (OFF, False, "{} He talks. Somebody unseen speaks.", "Somebody unseen speaks.", "contradiction: He talks"),
        (OFF, False, "{} He speaks.", "He speaks.", "status_missing"),
        (SILENT, False, "{} He talks. No voice is heard.", "No voice is heard.", "contradiction: He talks"),
        (SILENT, False, "{} He talks, but no voice is heard.", "He talks, but no voice is heard.", "contradiction"),
        (SILENT, True, "{} No voice is heard: nobody speaks.", "No voice is heard: nobody speaks.", "contradiction"),
        (SILENT, True, "{} He is silent. No voice is heard.", "No voice is heard.", "contradiction: He is silent"),
        (SILENT, False, "{} There is no sound.", "There is no sound.", "status_missing"),
        (NO_AUDIO, False, "{} No voice is heard.", "No voice is heard.", "status_missing"),
        (ON, False, "{} " + "He speaks " + "very " * 60 + "calmly.", "He speaks " + "very " * 60 + "calmly.", "too_long"),
        (ON, False, "{} He speaks." + " Really." * 60, "He speaks.", "too_long"),
        (ON, False, "{} He speaks about winter taxes, dogs, cars.", "He speaks about winter taxes, dogs, cars.", "facts_added"),
        (ON, False, "{} He speaks like Obama.", "He speaks like Obama.", "facts_added: obama"),
        (ON, False, "{} He says 40 words.", "He says 40 words.", "facts_added: a number"),
        (ON, False, "{} He speaks to a woman.", "He speaks to a woman.", "facts_added: women"),
    ],
)
def test_contradictions_and_inventions_are_found(status, lips_move, caption, sentence, reason):
    assert wrong(caption.format(ORIGINAL), sentence, status, lips_move=lips_move).startswith(reason)


def test_what_was_heard_may_come_in():
    sentence = "He speaks about Paris, winter, taxes and dogs."
    assert wrong(f"{ORIGINAL} {sentence}", sentence, heard="In Paris the winter taxes hit dogs.") is None
    assert wrong(f"{ORIGINAL} {sentence}", sentence) is not None


@pytest.mark.parametrize(
    ("original", "status", "rewritten"),
    [
        ("A woman is sitting at a desk, gesturing.", ON, "A woman sits at a desk. | She speaks, gesturing."),
        ("A man wearing glasses stands there.", ON, "| A man in glasses stands there, speaking."),
        ("Two people are seated on a couch, smiling.", ON, "Two people sit on a couch, smiling. | One of them talks."),
        ("A chef prepares food. He doesn't look up.", OFF, "A chef is preparing food. He does not look up. | A narrator speaks."),
        ("An old man with a grey beard in a colourful hat.", ON, "| An old man with a gray beard in a colorful hat speaks."),
        ("She carries 2 bags in a white T-shirt.", NO_AUDIO, "She, in a white t-shirt, carries two bags. | There is no sound."),
        ("A boy lies on the grass and laughs.", SILENT, "A boy is lying on the grass, laughing. | No voice is heard."),
        ("A person who wore a jacket ran past children.", ON, "| The person, in a jacket, runs past children and speaks."),
        (
            "An anchor in a navy-blue blazer reads news.",
            ON,
            "An anchor in a navy blue blazer is reading news. | The anchor speaks.",
        ),
        (
            "A woman's hands are shown as she's making pottery.",
            OFF,
            "A woman\u2019s hands make pottery. | Somebody unseen speaks.",
        ),
        ("He carries boxes; his dogs ran along.", ON, "He is carrying boxes, and his dogs are running along. | He talks."),
        (
            "The girl\u2019s hair is blond; her eyes are closed.",
            SILENT,
            "The girl's hair is blonde, her eyes closed. | No voice.",
        ),
    ],
)
def test_other_forms_spellings_and_punctuation_are_the_same_facts(original, status, rewritten):
    sentence = rewritten.split("|")[1].strip()
    assert wrong(" ".join(rewritten.replace("|", "").split()), sentence, status, original=original) is None


@pytest.mark.parametrize(
    ("original", "rewritten", "reason"),
    [
        ("She carries 2 bags.", "She carries three bags.", "facts_changed: numbers"),
        ("A man in a red hat and a blue coat.", "A man in a blue hat and a red coat.", "facts_changed: colours"),
        ("A man in a navy-blue coat.", "A man in a navy coat.", "facts_changed: colours"),
        ("He doesn't wear glasses.", "He wears glasses.", "facts_changed: what is denied"),
        ("A man holding a cup by the window.", "A man holding a glass by the door.", "facts_lost: cup, window"),
    ],
)
def test_tolerance_of_forms_lets_no_fact_change(original, rewritten, reason):
    assert wrong(f"{rewritten} He speaks.", "He speaks.", original=original) == reason
