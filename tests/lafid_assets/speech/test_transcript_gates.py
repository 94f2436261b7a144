"""Which segments are believed, and why not."""

# ruff: noqa: RUF001 (letters of other scripts are meant)
import math
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
        ({"text": "Thank you."}, "stock_phrase"),
        ({"text": "Thank you. Thank you!"}, "stock_phrase"),
        ({"text": "I would like to thank you."}, None),
        ({"text": "Thanks for watching the children yesterday."}, None),
        ({"text": "Subtitles are of no use to me."}, None),
        ({"text": "♪♪"}, "empty"),
        ({"text": "。"}, "empty"),
        ({"avg_logprob": math.nan}, "improbable"),
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


@pytest.mark.parametrize(
    ("language", "phrases", "speech"),
    [
        ("de", ["Vielen Dank fürs Zuschauen!", "Untertitel der Amara.org-Community"], "Untertitel brauche ich im Kino nie."),
        ("fr", ["Merci d'avoir regardé cette vidéo !", "Sous-titrage Société Radio-Canada"], "Merci d’avoir fermé la porte."),
        ("es", ["¡Suscríbete al canal!", "Gracias por ver el video."], "Gracias por ver a mi madre."),
        ("pt", ["Obrigado por assistir", "Legendas pela comunidade Amara.org"], "Obrigado por assistir ao meu pai."),
        ("it", ["Sottotitoli e revisione a cura di QTSS", "Grazie per la visione."], "Grazie per la cena di ieri."),
        ("ru", ["Субтитры сделал DimaTorzok", "Продолжение следует..."], "Спасибо за ужин."),
        (
            "tr",
            ["Abone olmayı unutmayın", "ABONE OLMAYI UNUTMAYIN", "İzlediğiniz için teşekkür ederim."],
            "Anahtarı almayı unutmayın.",
        ),
        ("ar", ["اشتركوا في القناة", "شكراً للمشاهدة", "شكرًا لكم", "شُكراً للمُشاهدة", "شكــرا للمشاهدة"], "شكراً على العشاء"),
        ("fa", ["ممنون که تماشا کردید.", "از توجه شما متشکرم"], "ممنون که به من غذا دادید."),
        ("ur", ["دیکھنے کا شکریہ۔"], "کھانے کا شکریہ۔"),
        ("he", ["תּוֹדָה רַבָּה", "תודה על הצפייה"], "תודה על האוכל."),
        ("hi", ["देखने के लिए धन्यवाद।"], "खाने के लिए धन्यवाद।"),
        ("no", ["Takk for at du så på!", "Teksting av Nicolai Winther"], "Takk for at du så på barna i går."),
        ("bg", ["Благодаря за гледането!", "Благодаря ви за вниманието."], "Благодаря за вечерята."),
        ("hr", ["Hvala na gledanju.", "Hvala što pratite kanal."], "Hvala na večeri."),
        (
            "en",
            ["Thank you all for watching.", "I'll see you in the next video.", "I’ll see you in the next one."],
            "See him off.",
        ),
        ("ja", ["ご視聴ありがとうございました。", "おやすみなさい。"], "昨日はありがとうございましたと言った。"),
        ("zh", ["字幕by索兰娅", "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目"], "字幕太小了看不清。"),
        ("ko", ["MBC 뉴스 이덕영입니다.", "시청해주셔서 감사합니다."], "어제 와 주셔서 감사합니다."),
        ("pl", ["Dziękuję za oglądanie!", "Napisy stworzone przez społeczność Amara.org"], "Dziękuję za kolację."),
        (
            "vi",
            [
                "Cảm ơn các bạn đã theo dõi",
                "Hãy subscribe cho kênh Ghiền Mì Gõ",
                "Hãy subscribe cho kênh Ghiền Mì Gõ Để không bỏ lỡ những video hấp dẫn",
            ],
            "Cảm ơn các bạn đã đến.",
        ),
    ],
)
def test_phrases_that_models_invent_are_known_in_many_languages_as_whole_segments(language, phrases, speech):
    for phrase in phrases:
        assert doubt(replace(GOOD, text=phrase, language=language), TranscriptGates()) == "stock_phrase", phrase
        assert doubt(replace(GOOD, text=f"{speech} {phrase}", end_s=9.0), TranscriptGates()) is None, phrase
    assert doubt(replace(GOOD, text=speech, language=language), TranscriptGates()) is None


@pytest.mark.parametrize(
    ("start_s", "end_s", "audio_duration_s", "reason"),
    [(0, 3, 3, None), (0, 3.9, 3, None), (0, 4.5, 3, "past_end"), (3.2, 3.9, 3, "past_end"), (30, 90, None, None)],
)
def test_a_segment_past_the_end_of_the_sound_is_of_another_recording(start_s, end_s, audio_duration_s, reason):
    segment = replace(GOOD, start_s=start_s, end_s=end_s, text="Hello there.")
    assert doubt(segment, TranscriptGates(), audio_duration_s) == reason
    assert [one.reason for one in dropped([segment], None, audio_duration_s)] == ([reason] if reason else [])
    assert believed([segment], None, audio_duration_s) == ([] if reason else [segment])


def test_a_gate_can_be_moved():
    assert doubt(replace(GOOD, avg_logprob=-1.5), TranscriptGates(min_avg_logprob=-2.0)) is None


def test_language_is_that_of_most_speech():
    french = replace(GOOD, language="fr", end_s=5.0)
    assert language_of([GOOD, french]) == "fr"
    assert language_of(believed([GOOD, replace(french, avg_logprob=-3.0)])) == "en"
    assert language_of([replace(GOOD, language=None)]) is None
    assert language_of([]) is None
