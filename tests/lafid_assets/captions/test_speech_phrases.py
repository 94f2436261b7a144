"""The grammar of the cuts: what claims speech or silence goes, the rest of the sentence stays and reads on."""

import pytest

from lafid_assets.captions.speech_phrases import SILENT_FACE, SILENT_SOUND, SPEAKING, cut, mentions_voice_over


@pytest.mark.parametrize(
    ("sentence", "rest"),
    [
        ("A man is speaking to the camera while gesturing.", "A man is facing the camera while gesturing."),
        ("The man smiles and speaks directly to the camera.", "The man smiles and faces the camera."),
        ("The man speaks to the camera with a serious expression.", "The man faces the camera with a serious expression."),
        ("She is talking and laughing with friends.", "She is laughing with friends."),
        ("Two women talk about cooking in a bright kitchen.", "Two women are shown in a bright kitchen."),
        ("A man speaks into a microphone on stage.", "A man is shown with a microphone on stage."),
        ("The woman, who is speaking passionately, wears green.", "The woman wears green."),
        ("As she speaks, her hair moves.", "Her hair moves."),
        ("Speaking softly, she looks down.", "She looks down."),
        ("While talking to the camera, he smiles.", "While facing the camera, he smiles."),
        ("He looks down as he speaks softly to the woman.", "He looks down with the woman."),
        ("The man is seen giving a speech in front of a crowd.", "The man is shown in front of a crowd."),
        ("The man begins to speak, his eyes wide.", "The man is shown, his eyes wide."),
        ("A man talking about cars wears a hat.", "A man wears a hat."),
        ("They are having a lively conversation at a cafe.", "They are shown at a cafe."),
        ("He is addressing the audience from a podium.", "He is facing the audience from a podium."),
        ("She holds a cup and talks about her day, smiling.", "She holds a cup, smiling."),
        ("A person is talking.", None),
        ("They are talking.", None),
    ],
)
def test_speaking_is_cut(sentence, rest):
    found, removed = cut(sentence, SPEAKING)
    assert found == rest
    assert removed


@pytest.mark.parametrize(
    "sentence",
    [
        "The English-speaking host smiles.",
        "His expression speaks volumes.",
        "His bearing bespeaks calm.",
        "She does not speak.",
        "He stands without talking.",
        "A loudspeaker hangs on the wall.",
        "He looks ready to speak.",
        "Strictly  spaced   text, with a talk-show poster.",
    ],
)
def test_what_claims_no_speech_is_untouched(sentence):
    assert cut(sentence, SPEAKING) == (sentence, [])


@pytest.mark.parametrize(
    ("sentence", "rest"),
    [
        ("A woman is silent, looking out.", "A woman is shown, looking out."),
        ("The man remains silent with his mouth closed, wearing a hat.", "The man is shown, wearing a hat."),
        ("She silently watches the sea.", "She watches the sea."),
        ("A silent woman stands by the door, but does not speak.", "A woman stands by the door."),
        ("She reads a book without saying a word.", "She reads a book."),
        ("She stands quietly, lips closed.", "She stands quietly."),
        ("It is a silent film.", "It is a silent film."),
        ("Her mouth is closed.", None),
        ("The mouth is closed and the officer does not say a word, only turning.", "The officer is shown, only turning."),
        ("The mouth is closed in the whole clip.", "The face is shown in the whole clip."),
        ("Her lips stay shut, and she blinks.", "She blinks."),
        ("He never says a word.", None),
        ("The two are not talking to each other.", "The two are shown with each other."),
        ("He isn't speaking to the camera.", "He is facing the camera."),
        ("He does not say where he is going.", "He does not say where he is going."),
    ],
)
def test_silence_of_the_face_is_cut(sentence, rest):
    assert cut(sentence, SILENT_FACE)[0] == rest


@pytest.mark.parametrize(
    ("sentence", "rest"),
    [
        ("A man walks and no one speaks.", "A man walks."),
        ("A man walks, with no dialogue.", "A man walks."),
        ("No voice is heard.", None),
        ("There is no speech.", None),
        ("No words are visible on the wall.", "No words are visible on the wall."),
    ],
)
def test_silence_of_the_sound_is_cut(sentence, rest):
    assert cut(sentence, SILENT_SOUND)[0] == rest


def test_removed_phrases_stand_as_they_stood():
    assert cut("She Talks To The Camera and waves.", SPEAKING)[1] == ["Talks To The Camera"]


def test_voice_over_is_recognised():
    assert mentions_voice_over("A calm Voice-over explains the scene.")
    assert not mentions_voice_over("A man invoices his client.")
