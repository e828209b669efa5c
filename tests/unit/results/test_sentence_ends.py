"""Sentences end where readers of the language would say; no text is lost, whatever it is."""

# ruff: noqa: RUF001  # letters of many scripts

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.results.sentence_ends import sentences

BAR = "|"


def cut(text: str, language: str | None) -> str:
    return BAR.join(text[first:after] for first, after in sentences(text, language))


@pytest.mark.parametrize(
    ("language", "marked"),
    [
        # Abbreviations, initials and numbers end no sentence ...
        ("en", "Mr. Smith met Dr. Jones at 3.5 km.|He left."),
        ("en", "J. R. R. Tolkien met George W. Bush.|They talked."),
        ("en", "It's at No. 5 Main St. near St. Paul's.|See example.com or Node.js.|Yes."),
        ("fr", "M. Dupont est parti avec M. Durand et Mme. Petit.|J. Moreau reste."),
        (
            "de",
            "Das 19. Jahrhundert begann am 3. Mai, z. B. für Dr. Müller.|Er ist 19.|Dann kam sie.",
        ),
        ("es", "El Sr. López y la Sra. García.|¿Vienes?|¡Claro!"),
        ("it", "Il sig. Rossi e il dott. Bianchi.|Il prof. Verdi."),
        ("pt", "O Sr. Silva.|A Dra. Costa."),
        ("ru", "Я живу в г. Москва на ул. Ленина.|А. С. Пушкин писал, т. е. творил."),
        ("ar", "مرحبا.|قال د. أحمد شيئا!|كيف حالك؟|نعم."),
        ("hi", "यह है।|डॉ. शर्मा आए।|क्या?"),
        ("tr", "Geldi.|3. Bölüm."),
        ("sv", "T.ex. Sverige.|Ja."),
        ("zh", "价格是3.5万。|好。"),
        # ... but a word that sentencex's lists hold as an abbreviation does.
        ("en", "No.|Peter stayed.|He told me.|Peter left.|So am I.|Peter went etc.|Paul too."),
        ("it", "Non lo so.|Paolo è qui da due anni fa.|Paolo va via.|Paolo no.|Paolo."),
        ("es", "Dijo que no.|Pedro vino.|Todo bien.|Pedro vino."),
        # No end before a small letter, unless all is in small letters.
        (
            "en",
            "Approx. five.|Wait... what?|Well… I don't know... I mean it.|So…|Peter left.",
        ),
        ("en", "hello.|how are you?|i am fine."),
        ("nl", "Nee.|'s Avonds komt mevr. de Vries.|'t Is goed."),
        ("en", 'She yelled "Stop!" and then "Go!" and left.|"Hello?" she said, "anyone?" and sat.'),
        ("en", '"What? where? when?" he asked.|Nobody knew.'),
        # An ellipsis ends one only before a capital, however it is written.
        ("en", "Well... he said… that… 5 of them...|Then… I don't know...|Peter left…, Paul too."),
        ("ru", "Ну... я... я не знаю... наверное... да.|Нет…|Да."),
        ("el", "Εγώ... δεν ξέρω... ίσως… ναι."),
        ("ko", "저는... 잘 모르겠어요… 아마... 네.|정말?..|네."),
        ("hi", "मैं... नहीं जानता… हाँ।|नहीं।"),
        ("ar", "أنا... لا أعرف… ربما.|نعم."),
        ("he", "אני... לא יודע… אולי.|כן."),
        ("th", "ผม... ไม่รู้… ครับ"),
        ("ja", "私は...よく…わかりません。|はい。"),
        # In scripts without capitals, letters that stand for words end none; nor does Thai.
        ("th", "พล.อ.ประยุทธ์ จันทร์โอชา เวลา 10.30 น. วันนี้ ค.ศ. 1999 ดร. สมชาย"),
        ("ar", "قالت وكالة أ.ف.ب. إن ص.ب. 123.|لا.|هذا كل شيء."),
        ("he", "א.ב. יהושע כתב.|כן.|הוא בא."),
        ("ka", "დ. კლდიაშვილი.|არა.|5 კაცი.|კი."),
        ("hi", "वह प्रो. वर्मा हैं।|रु. 500।|हाँ.|ठीक है."),
        ("ko", "네.|2.5배입니다.|그렇습니다."),
        ("zh", "他是Dr.王。|好.|再见。"),
        # A sentence may be one word with a full stop inside, or a number.
        ("en", "Amazon.com.|It's big.|Node.js.|We use it.|10.30.|Then we left.|1945.|He came."),
        # What is an abbreviation in one language is a word in another ...
        ("ru", "Он дал книгу им.|Потом ушёл с ул. Ленина."),
        ("de", "Das ist alles, was ich hab.|Dann kam er."),
        ("pl", "To dr hab. Nowak.|Było ok.|Potem szedł ok. 5 km."),
        ("hr", "Mi ste.|Vi ste.|Oni su na ul. Kralja."),
        ("fr", "La ville de ste. Marie.|Bd. Voltaire.|Le Pr. Raoult."),
        ("sv", "Vi måste dra.|Kl. 10.30 kom t.ex. Anna."),
        ("da", "Han skyndte sig.|Så kom hr. Jensen."),
        ("en", "The delay is 20 ms.|The next is 30.|Ms. Smith left."),
        ("de", "Es kostet inkl. Mehrwertsteuer 5 Euro.|Frau Meier, geb. Müller.|Tel. Nummer."),
        ("es", "La Dña. Ana.|El lic. Pérez."),
        ("ro", "Dl. Popescu vine."),
        ("tr", "Sn. Ali geldi.|5 sn.|Sonra."),
        ("vi", "TP. Hồ Chí Minh."),
        ("id", "Jl. Sudirman."),
        # ... and one that a number follows may be a word elsewhere.
        (
            "en",
            "See Vol. 3 and ch. 5 for approx. 5 dollars.|I have no. 5 of them.|Turn up the vol.",
        ),
        ("ru", "Рис. 3 и табл. 5."),
        ("es", "Pág. 3."),
        ("it", "Vedi pag. 3."),
        # Quotation marks and brackets belong to the sentence that they end.
        (
            "en",
            '"Go."|"Really?" he asked.|"Yes," she said.|"I know.|It is so."|(He laughed.)|Then.',
        ),
        ("en", 'One stray " mark.|It joins nothing.|Not this either.'),
        ("fr", "« Vous venez ? » demanda-t-il.|« Oui. »|Il partit."),
        ("de", "„Komm her.“|Er kam.|»Geh.«|Sie ging.|„Warum?“ fragte er."),
        ("ja", "「はい。」と言った。|次です！|そうか？|「うん。」|彼が来た。"),
        (
            "ja",
            "「はい。」|「いいえ。」|次。|はい。(笑)|そうです。|どうした?って聞いた。|え?|そう?|とても。",
        ),
        ("zh", "他说:“走吧。”|然后走了。|“好。”|再见。|“你好！”他说。|“走！”他喊道，走了。"),
        ("zh", "“走吧。”|我知道。"),
        # Other scripts, with and without spaces.
        ("zh", "你好吗?|我很好!|我们走吧。"),
        ("ko", "안녕하세요.|네?|네."),
        ("km", "នេះ។|នោះ។"),
        ("my", "ဒါ။|ဒီ၊ ဟို။"),
        ("am", "ሰላም።|እንዴት ነህ?|ደህና።"),
        ("el", "Τι κάνεις;|Καλά είμαι."),
        ("ur", "یہ ہے۔|وہ ہے۔"),
        ("ka", "გამარჯობა.|როგორ ხარ?"),
        ("th", "สวัสดีครับ ไปไหนมา"),
        # Languages without rules of their own.
        (None, "Hello.|Dr. Smith is here."),
        ("xx", "Hej.|Hur mår du?"),
        ("haw", "Aloha.|Pehea?"),
        ("en", "- Hello.|- Hi. ♪ ♪"),
        ("en", "... ?"),
        ("en", ""),
    ],
)
def test_sentences_end_where_a_reader_says(language: str | None, marked: str) -> None:
    text = marked.replace(BAR, "" if language in ("ja", "zh") else " ")
    assert cut(text, language) == marked


PIECES = st.sampled_from(
    [
        *("Hello", "no", "I", "Mr", "3", "é", "Москва", "はい", "你好", "สวัสดี", "यह", "مرحبا"),
        *(" ", " ", ". ", ".", "…", "...", "?", "!", "。", "।", "؟", "،", "\n\n", "\u00a0"),
        *('"', "'", "“", "”", "»", "«", "「", "」", "(", ")", "\u0301", "\ud800", "😀", "\x00"),
    ]
)
TEXTS = st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=60)
LANGUAGES = st.sampled_from(
    [None, "en", "de", "fr", "it", "ja", "zh", "ar", "hi", "th", "my", "xx", ""]
)


@given(TEXTS, LANGUAGES)
@settings(max_examples=300)
def test_nothing_but_white_space_is_left_out(text: str, language: str | None) -> None:
    done = 0
    found = sentences(text, language)
    for first, after in found:
        assert not text[done:first].strip()
        assert text[first:after] == text[first:after].strip() != ""
        done = after
    assert not text[done:].strip()
    assert len(found) < 2 or all(any(map(str.isalnum, text[a:b])) for a, b in found)
