"""What speech models write over silence, music and credits: thanks, calls to subscribe, and who made the subtitles.

Belongs here: the phrases, language by language. Not here: the other doubts about a segment (`transcript_gates`).

Whisper learnt from subtitles of the web, and such lines stand there where nothing is said. They are known as whole segments only:
the same words within a sentence are speech. The list is ours, after public reports (openai/whisper discussions 679, 928, 1606 and
their like).
"""

# ruff: noqa: RUF001 (letters of other scripts are meant)
import re
import unicodedata
from functools import lru_cache

_ANY = "*"
"""In a phrase: up to 40 characters, as of a name."""
_SPELLINGS = str.maketrans({"\u2019": "'", "\u0131": "i", "\u0640": None})
"""Apostrophes; Turkish capitals, whose dots case folding does not know; and the stroke that makes Arabic words wider."""

_PHRASES: dict[str, tuple[str, ...]] = {
    "en": (
        *("thank you", "thanks", "thank you very much", "thank you so much", "you", "bye", "bye bye", "goodbye", "the end"),
        *("thanks for watching", "thank you for watching", "thank you so much for watching", "thank you very much for watching"),
        *("thanks for listening", "thank you for listening", "thanks for viewing", "thank you for viewing"),
        *("thanks for watching and see you next time", "thanks for watching and i'll see you in the next video"),
        *("thank you all", "thank you everyone", "thank you all for watching", "thank you everyone for watching"),
        *("thanks everyone for watching", "thank you guys for watching", "thanks guys for watching", "thank you all so much"),
        *("thank you for watching this video", "thanks for watching this video", "thank you for watching my video"),
        *("subscribe", "please subscribe", "like and subscribe", "please like and subscribe", "like share and subscribe"),
        *("please like comment and subscribe", "like comment and subscribe", "don't forget to like and subscribe"),
        *("please subscribe to my channel", "please subscribe to our channel", "please subscribe to the channel"),
        *("subscribe to my channel", "subscribe to our channel", "subscribe to the channel", "don't forget to subscribe"),
        *("see you next time", "see you next week", "see you next video", "see you in the next video", "i'll see you next time"),
        *("i'll see you in the next video", "i will see you in the next video", "see you guys in the next video"),
        *("i'll see you in the next one", "see you in the next one", "i'll see you guys in the next video"),
        *("subtitles by *", "subtitles made by *", "captions by *", "captioned by *", "captioning by *", "subtitled by *"),
        *("transcription by *", "transcribed by *", "transcript by *", "translated by *", "translation by *", "amara org *"),
        *("copyright", "copyright c 20*", "copyright c 19*", "copyright 19*", "copyright 20*", "all rights reserved"),
        *("music", "music playing", "applause", "laughter", "silence", "blank audio", "blank_audio", "foreign", "inaudible"),
    ),
    "de": (
        *("vielen dank", "danke", "tschüss", "bis zum nächsten mal", "danke fürs zuschauen", "vielen dank fürs zuschauen"),
        *("vielen dank für ihre aufmerksamkeit", "vielen dank für die aufmerksamkeit", "danke für ihre aufmerksamkeit"),
        *(
            "untertitel der amara org community",
            "untertitel von *",
            "untertitel im auftrag *",
            "untertitelung des *",
            "untertitelung im auftrag *",
        ),
        *("untertitel", "copyright wdr *", "swr 20*", "copyright *rundfunk *", "abonniert den kanal", "musik", "applaus"),
    ),
    "fr": (
        *("merci", "merci beaucoup", "merci à tous", "au revoir", "merci d'avoir regardé", "merci d'avoir regardé cette vidéo"),
        *("merci d'avoir visionné cette vidéo", "merci pour votre attention", "abonnez vous", "abonnez vous à la chaîne"),
        *("n'oubliez pas de vous abonner", "sous titrage", "sous titrage st *", "sous titrage société *", "sous titrage par *"),
        *("sous titrage fr *", "sous titres par *", "sous titres réalisés par *", "sous titres réalisés para *", "musique"),
        *("à bientôt", "à la prochaine", "applaudissements"),
    ),
    "es": (
        *("gracias", "muchas gracias", "adiós", "hasta la próxima", "gracias por ver", "gracias por ver el video"),
        *("gracias por ver el vídeo", "muchas gracias por ver el video", "gracias por su atención", "suscríbete"),
        *("suscríbete al canal", "suscríbete a nuestro canal", "no olvides suscribirte", "subtítulos por *", "música"),
        *("subtítulos realizados por *", "subtítulos creados por *", "subtitulado por *", "aplausos"),
    ),
    "pt": (
        *("obrigado", "obrigada", "muito obrigado", "tchau", "até a próxima", "obrigado por assistir", "obrigada por assistir"),
        *("inscreva se no canal", "se inscreva no canal", "não se esqueça de se inscrever", "legendas pela *", "legendas por *"),
        *("legendado por *", "legenda adriana zanotto", "legendas", "música", "aplausos"),
    ),
    "it": (
        *("grazie", "grazie mille", "ciao", "grazie a tutti", "grazie per la visione", "grazie per aver guardato"),
        *("grazie per aver guardato il video", "grazie per l'attenzione", "iscriviti al canale", "iscrivetevi al canale"),
        *("sottotitoli e revisione a cura di *", "sottotitoli a cura di *", "sottotitoli creati dalla *", "sottotitoli di *"),
        *("alla prossima", "musica", "applausi"),
    ),
    "nl": (
        *("bedankt", "dank u wel", "bedankt voor het kijken", "tot de volgende keer", "ondertiteld door *", "muziek"),
        *("ondertitels ingediend door *", "ondertiteling", "abonneer je op mijn kanaal", "tv gelderland *"),
    ),
    "pl": (
        *("dziękuję", "dziękuję za uwagę", "dziękuję za oglądanie", "dzięki za oglądanie", "dziękuję za obejrzenie", "muzyka"),
        *("do zobaczenia", "napisy stworzone przez *", "napisy wykonane przez *", "subskrybuj kanał", "zapraszam do subskrypcji"),
    ),
    "ru": (
        *("спасибо", "спасибо за просмотр", "спасибо за внимание", "спасибо за субтитры *", "до свидания", "до новых встреч"),
        *("продолжение следует", "субтитры сделал *", "субтитры создавал *", "субтитры подогнал *", "субтитры делал *"),
        *("субтитры *dimatorzok", "редактор субтитров *", "подписывайтесь на канал", "музыка", "аплодисменты"),
        *("подпишись на канал", "не забудьте подписаться на канал"),
    ),
    "uk": ("дякую", "дякую за перегляд", "дякую за увагу", "до побачення", "підписуйтесь на канал", "субтитри"),
    "tr": (
        *("teşekkürler", "teşekkür ederim", "izlediğiniz için teşekkürler", "izlediğiniz için teşekkür ederim", "müzik"),
        *("izlediğiniz için teşekkür ederiz", "abone olmayı unutmayın", "abone olun", "altyazı m k", "altyazı", "hoşçakalın"),
        *("kanalıma abone olmayı unutmayın", "abone olmayı beğenmeyi ve yorum yapmayı unutmayın"),
    ),
    "ar": (
        *("شكرا", "شكرا لكم", "شكرا للمشاهدة", "شكرا على المشاهدة", "شكرا لكم على المشاهدة", "ترجمة نانسي قنقر", "موسيقى"),
        *("اشتركوا في القناة", "لا تنسوا الاشتراك في القناة", "نانسي قنقر"),
    ),
    "ja": (
        *(
            "ご視聴ありがとうございました",
            "ご視聴ありがとうございます",
            "ご清聴ありがとうございました",
            "最後までご視聴ありがとうございました",
        ),
        *(
            "ありがとうございました",
            "ありがとうございます",
            "おやすみなさい",
            "チャンネル登録をお願いします",
            "また次の動画でお会いしましょう",
        ),
        *("チャンネル登録お願いします", "チャンネル登録よろしくお願いします", "次回もお楽しみに", "音楽", "拍手"),
    ),
    "zh": (
        *(
            "谢谢",
            "谢谢大家",
            "谢谢观看",
            "谢谢收看",
            "谢谢您的观看",
            "感谢观看",
            "感谢您的观看",
            "感谢收看",
            "多谢观看",
            "再见",
            "音乐",
        ),
        *(
            "謝謝",
            "謝謝大家",
            "謝謝觀看",
            "謝謝收看",
            "感謝觀看",
            "感謝您的觀看",
            "多謝您的觀看",
            "下次見",
            "下期再见",
            "未完待续",
        ),
        *(
            "字幕by*",
            "字幕 by*",
            "字幕由*",
            "字幕提供*",
            "字幕製作*",
            "字幕制作*",
            "字幕志愿者*",
            "字幕志願者*",
            "中文字幕志愿者*",
            "中文字幕志願者*",
            "中文字幕提供*",
        ),
        *(
            "请不吝点赞*",
            "請不吝點贊*",
            "请订阅*",
            "請訂閱*",
            "明镜需要您的支持*",
            "明鏡需要您的支持*",
            "优优独播剧场*",
            "優優獨播劇場*",
        ),
        *("点赞订阅*", "欢迎订阅*", "歡迎訂閱*", "別忘了訂閱*", "别忘了订阅*"),
    ),
    "ko": (
        *(
            "감사합니다",
            "고맙습니다",
            "시청해주셔서 감사합니다",
            "시청해 주셔서 감사합니다",
            "시청해 주셔서 고맙습니다",
            "안녕히 계세요",
        ),
        *("구독과 좋아요 부탁드립니다", "구독 좋아요 부탁드립니다", "다음 영상에서 만나요", "다음 시간에 만나요", "한글자막 *"),
        *("한글 자막 *", "자막 제공 *", "mbc 뉴스 *", "kbs 뉴스 *", "sbs 뉴스 *", "음악", "박수"),
    ),
    "vi": (
        *("cảm ơn", "cảm ơn các bạn đã theo dõi", "cảm ơn các bạn đã theo dõi và hẹn gặp lại", "hẹn gặp lại", "cảm ơn đã xem"),
        *("hãy subscribe cho kênh *", "hãy đăng ký kênh *", "đừng quên đăng ký kênh *", "ghiền mì gõ *"),
        *("hãy subscribe cho kênh * để không bỏ lỡ những video hấp dẫn", "để không bỏ lỡ những video hấp dẫn"),
    ),
    "id": (
        *("terima kasih", "terima kasih telah menonton", "terima kasih sudah menonton", "terima kasih kerana menonton"),
        *("sampai jumpa", "sampai jumpa di video selanjutnya", "jangan lupa subscribe *", "subtitle oleh *"),
    ),
    "hi": ("धन्यवाद", "देखने के लिए धन्यवाद", "वीडियो देखने के लिए धन्यवाद", "चैनल को सब्सक्राइब करें", "संगीत"),
    "th": ("ขอบคุณครับ", "ขอบคุณค่ะ", "ขอบคุณที่รับชม", "โปรดติดตามตอนต่อไป"),
    "sv": (
        "tack",
        "tack för att ni tittade",
        "tack för att du tittade",
        "undertexter från *",
        "undertexter av *",
        "undertextning *",
    ),
    "da": (
        *("tak", "tak fordi i så med", "tak fordi du så med", "tak for at i så med", "tak for at se med", "danske tekster af *"),
        "undertekster af *",
    ),
    "no": (
        *("takk", "tusen takk", "takk for at du så på", "takk for at dere så på", "takk for at du så med", "takk for meg"),
        *("takk for at dere så med", "takk for oppmerksomheten", "teksting av *", "tekstet av *", "undertekster av *"),
    ),
    "fi": ("kiitos", "kiitos katsomisesta", "kiitos kun katsoit", "tekstitys"),
    "cs": ("děkuji", "děkuji za pozornost", "děkuji za sledování", "titulky vytvořil *"),
    "sk": ("ďakujem", "ďakujem za pozornosť", "ďakujem za sledovanie", "titulky vytvoril *"),
    "hr": (
        *("hvala", "hvala vam", "hvala lijepa", "hvala lepo", "hvala na gledanju", "hvala vam na gledanju", "hvala na pažnji"),
        *("hvala što gledate", "hvala što ste gledali", "hvala što pratite", "hvala što pratite kanal", "doviđenja"),
        *("хвала", "хвала на гледању", "хвала на пажњи"),
    ),
    "sl": ("hvala za ogled", "hvala za pozornost"),
    "bg": (
        *("благодаря", "благодаря ви", "благодаря за гледането", "благодаря ви за гледането", "благодаря ви че гледахте"),
        *("благодаря за вниманието", "благодаря ви за вниманието", "абонирайте се за канала", "довиждане"),
    ),
    "el": ("ευχαριστώ", "ευχαριστώ που παρακολουθήσατε", "υπότιτλοι authorwave", "υπότιτλοι"),
    "hu": ("köszönöm", "köszönöm a figyelmet", "köszönöm hogy megnézted", "feliratozta *"),
    "ro": ("mulțumesc", "vă mulțumesc pentru vizionare", "mulțumim pentru vizionare", "subtitrare"),
    "he": ("תודה", "תודה רבה", "תודה על הצפייה", "כתוביות"),
    "fa": (
        *("ممنون", "ممنونم", "متشکرم", "مرسی", "سپاس", "خداحافظ", "موسیقی", "از توجه شما متشکرم", "ممنون از توجه شما"),
        *("ممنون که تماشا کردید", "ممنون از تماشای شما", "با تشکر از تماشای شما", "از تماشای شما متشکرم", "زیرنویس از *"),
    ),
    "ur": ("شکریہ", "دیکھنے کا شکریہ", "دیکھنے کے لیے شکریہ"),
}
_EVERYWHERE = ("*amara org*",)
"""Credits of a community whose address no one says aloud."""


def is_stock_phrase(text: str) -> bool:
    """Whether the whole segment is one of the phrases, or one of them over and over."""
    return _pattern().fullmatch(_plain(text)) is not None


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    phrases = [phrase for of_language in _PHRASES.values() for phrase in of_language] + list(_EVERYWHERE)
    whole = "|".join(re.escape(_plain(phrase)) for phrase in phrases if _ANY not in phrase)
    open_ended = "|".join(".{0,40}".join(map(re.escape, map(_plain, phrase.split(_ANY)))) for phrase in phrases if _ANY in phrase)
    return re.compile(f"(?:{whole})(?: (?:{whole}))*|{open_ended}")


def _plain(text: str) -> str:
    """Without case, punctuation, symbols and marks that are no part of a letter, which writers of Arabic set or leave out; one
    space between words."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_SPELLINGS)
    kinds = ((char, unicodedata.category(char)) for char in folded)
    kept = (" " if kind[0] in "PSZC" and char != "'" else char for char, kind in kinds if kind != "Mn")
    return " ".join("".join(kept).split())
