"""Advertisements of sites, addresses, and watermarks broken up by symbols.

A cheap search for tell-tale words finds the few places worth a look; only the sentence around such
a place meets the full patterns. Where a sentence holds an advertisement and prose, the
advertisement alone goes: a rule must not eat prose.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from stylellm.corpus.pairs import CharacterSearch, PairSearch

Edit = tuple[int, int, str]
Span = tuple[int, int]

_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_TOP = "com|net|org|cn|cc|tw|hk|info|xyz|top|example"
_URL = (
    rf"(?:https?://|www[.。．])(?:[{_HAN}]{{1,10}}\.(?:{_TOP})|[A-Za-z0-9./?=&%_:#~+-]+)|"
    rf"(?<![A-Za-z0-9.@-])[A-Za-z0-9-]{{2,30}}(?:\.[A-Za-z0-9-]{{1,30}}){{0,2}}\.(?:{_TOP})"
    r"(?![A-Za-z0-9.]\w)(?:/[A-Za-z0-9./?=&_-]*)?"
)
_ADDRESS = re.compile(
    rf"[A-Za-z0-9_.-]{{1,40}}@[A-Za-z0-9-]{{1,40}}(?:\.[A-Za-z]{{2,5}}){{1,3}}|{_URL}",
    re.IGNORECASE,
)

# Every pattern below holds one of these (a word by its first two characters, or a character alone).
_HINTS = """
    更多 最新 最快 欢迎 歡迎 下载 下載 手机 手機 秒 记住 記住 手打 整理 制作 製作 提供 收集 扫描 掃描
    扫校 掃校 录入 錄入 OC
    QQ Qq qq 扣扣 微信 威信 薇信 VX Vx vx V信 公众 公眾 群 友上 員上 员上 弹窗 彈窗 弹框 彈框 月票 推荐 推薦
    求收 求打 求订 求訂 求推 求红 求紅 求评 求評 未完 正版 打赏 打賞 仅供 僅供 本章 本节 本節 下一 上一
    网 網 论坛 論壇 书库 書庫 书城 書城 书吧 書吧 首发 首發
    ht Ht HT ww Ww WW @ .c .C .n .N .o .O .t .T .h .H .i .I .x .X .e .E
"""
_SITE = "(?<!地)[网網](?:[站址])?(?![上络絡罗羅住])|[论論][坛壇]|[书書](?:[库庫城吧])|中文[网網]"
_ITSELF = "本(?:[书書文站]|[电電]子[书書]|作品|小[说說])"
_AD = re.compile(
    # the book says where it comes from
    rf"{_ITSELF}[^。，\n]{{0,12}}(?:由|[来來]自|首[发發][于於自])[^。，\n]{{0,20}}?(?:{_SITE}|www)|"
    rf"{_ITSELF}[^。，\n]{{0,6}}由[^。，\n]{{0,24}}?(?:下[载載]|上[传傳]|首[发發]|手打|[扫掃]校|OCR|[录錄]入)|"
    rf"{_ITSELF}[^。，\n]{{0,6}}由[^。，\n]{{0,12}}?(?:[书書][屋社]|[电電]子[书書]|小[说說]|文[学學]|工作室)[^。，\n]{{0,8}}?"
    "(?:整理|[制製]作|提供|收集|[扫掃]描)|"
    rf"{_ITSELF}[^。，\n]{{0,6}}由[^。，\n]{{0,16}}?(?:整理|[制製]作|提供|收集|[扫掃]描)(?=[^。\n]{{0,12}}(?:[仅僅]供|下[载載]|[转轉][载載]))|"
    rf"{_ITSELF}[^。\n]{{0,20}}[仅僅]供[^。\n]{{0,8}}(?:[试試][读讀]|[预預][览覽]|[学學][习習]|交流)|"
    # more of it elsewhere
    "(?:更多|最新|最快|好看的)[^。\n]{0,20}?(?:小[说說]|[电電]子[书書]|TXT|txt|章[节節]|好[书書]|更新|全本)[^。\n]{0,20}?"
    "(?:[请請][^。，\n]{0,3}?(?:到|去|[访訪]|登|[来來]|搜|[关關]注)|[访訪][问問]|登[录錄陆陸]|[尽盡]在|下[载載]|[关關]注|"
    "就[来來到上去]|首[发發]|百度)|"
    f"[欢歡]迎[您你]?(?:光[临臨]|[访訪][问問]|加入|[来來]到)[^。\n]{{0,20}}?(?:(?<!地)[网網]|[论論][坛壇]|群)|"
    "(?:[Tt][Xx][Tt]|全集|全本|全文|免[费費]|[电電]子[书書]|小[说說])[^。，\n]{0,6}下[载載]|"
    "《[^》\n]{1,20}》[^。，\n]{0,6}最新章[节節]|[无無][弹彈][窗框]|"
    # groups and accounts
    "(?:[Qq][Qq]|扣扣)\\s*(?:[书書]友)?(?:群|[号號])?[号號]?\\s*[：:]?\\s*\\d{5,12}|"
    "(?:[Qq][Qq]|[微威薇]信|[Vv][Xx]|公[众眾][号號])\\s*(?:群|公[众眾][号號]|[号號])?\\s*[：:]\\s*[A-Za-z0-9_-]{5,}|"
    "[微威薇]信(?:公[众眾])?[号號]\\s*[A-Za-z0-9_-]{5,}|(?:[书書]友|[读讀]者|交流)群[号號]?\\s*[：:]?\\s*\\d{5,12}|"
    # words of the reading sites
    "手[机機](?:用[户戶]|[阅閱][读讀])[^。\n]{0,20}|(?:天才)?一秒[钟鐘]?[记記]住[^。\n]{0,30}|"
    "[请請]?[记記]住(?:本[书書站]|我[们們])[^。\n]{0,10}(?:域名|[网網]址|地址)|"
    "(?:文字|[会會][员員])手打|(?:[书書]友|[会會][员員])上[传傳]|"
    "本[章节節](?:[还還]?[未没沒]有?)完[，,][^。\n]{0,6}(?:[请請]|[点點][击擊]|下一[页頁])[^。\n]{0,20}|"
    "(?:求|投)(?:月票|推[荐薦]票)|求(?:收藏|打[赏賞]|[订訂][阅閱]|[红紅]票|推[荐薦]|[评評][论論])[！!、，, ]*求|"
    "(?:[谢謝]{2}|感[谢謝])[^。，\n]{0,15}(?:的打[赏賞]|的月票)|[请請]?支持正版(?:[阅閱][读讀])?|"
    "[上下]一[章页頁][^。\n]{0,20}(?:目[录錄]|返回|[书書][签籤])[^。\n]{0,20}|"
    "[（(【\\[](?:未完待[续續]|本章完)[^）)】\\]\n]{0,20}[）)】\\]]",
    re.IGNORECASE,
)
_BRACKETS = re.compile("[（(【\\[〔][^（(【\\[〔）)】\\]〕\n]{1,100}[）)】\\]〕]")
_SITE_NAME = re.compile("(?:小[说說]|中文|文[学學]|[阅閱][读讀]|[书書])[网網]")
_TAIL = re.compile(
    rf"[^。！？!?\n”’」』）)】\]]{{0,40}}?(?:{_ADDRESS.pattern}|(?<!地)[网網][站址]?(?![上络絡罗羅住])(?:{_ADDRESS.pattern})?)",
    re.IGNORECASE,
)
_CLAUSE = re.compile("[^，。！？!?；\n”’」』）)】\\]]{0,30}")
_MORE = re.compile(
    "[，,、！!~～ ]{1,2}[^，。！？\n”’」』]{0,12}"
    "(?:收藏|正版|下[载載]|首[发發]|最新|免[费費]|[弹彈]窗|[网網]址|本站|提供|整理|[访訪][问問]|[关關]注|[谢謝]{2}|更新|[欢歡]迎)[^，。！？\n”’」』]{0,12}"
)
_NOTICE_WORD = re.compile(
    f"{_ITSELF}(?:由|[来來]自)|"
    "[仅僅]供|下[载載]|[删刪]除|[试試][读讀]|版[权權]|正版|收藏|[访訪][问問]|[网網][站址]|免[费費]|首[发發]|更新|本站|[声聲]明|[谢謝]{2}|"
    "感[谢謝]|[欢歡]迎|[书書]友|[读讀]者|推[荐薦]|[Tt][Xx][Tt]|整理|提供|[制製]作|[链鏈]接|公[众眾][号號]|[关關]注|加群|[请請][来來到去]|手打|[会會][员員]|校[对對]|上[传傳]|[电電]子[书書]|"
    "[邮郵](?:箱|件)|[联聯][系繫]|[Ee]-?mail"
)
_CUT = "\0"
_LEFT = re.compile(f"[{_CUT}由在到及与與和或]*")
_LOOSE = re.compile("[TtＴ全免电電小《无無]")  # what stands before these is part of the notice
_STOPS = "。！？!?…\n"
_CLOSERS = "”’」』）)》〉】]〕"
_WORD = re.compile(rf"[{_HAN}A-Za-z0-9]")
_MAX_AD = 150


def find_ads(text: str, title: str) -> list[Edit]:
    """Advertisements and addresses; with their line where nothing else is on it."""
    spans: list[Span] = []
    for at in _hint_search().places(text):
        if (spans and at < spans[-1][1]) or text[at - 1 : at + 1] == text[at : at + 2]:
            continue  # the second: the hint before was the same, as in "wwww"
        span = _ad_at(text, at, spans[-1][1] if spans else 0)
        if span:
            spans.append(span)
    return _with_lines(text, spans)


@lru_cache(maxsize=1)
def _hint_search() -> PairSearch:
    return PairSearch(_HINTS.split())


def _ad_at(text: str, at: int, floor: int) -> Span | None:
    """The advertisement or address near `text[at]`, not before `floor`."""
    start, end = _sentence_around(text, at)
    start = max(start, floor)
    found = _AD.search(text, start, end) if end - start <= _MAX_AD else None
    for bracket in _BRACKETS.finditer(text, start, end):
        inside = bracket[0]
        if bracket.start() <= at < bracket.end() and (
            _AD.search(inside) or _ADDRESS.search(inside) or _SITE_NAME.search(inside)
        ):
            if found and found.start() < bracket.start() < found.end():
                reach = found.start(), max(found.end(), bracket.end())
                return _extent(text, reach, start, end)
            return bracket.span()
    address = _address_at(text, at, max(start, at - 60))
    if found and found.start() <= at < found.end():  # else a hint of its own will lead there
        return _extent(text, found.span(), start, max(end, address[1] if address else end))
    return address


def _address_at(text: str, at: int, start: int) -> Span | None:
    end = min(len(text), at + 2 * _MAX_AD)
    around = text[start:end].lower()
    if not any(sign in around for sign in (".", "@", "://", "www")):
        return None  # what every address has one of
    for address in _ADDRESS.finditer(text, start, end):
        if address.start() > at + 1:
            return None
        if address.end() > at:
            return address.span()
    return None


def _sentence_around(text: str, at: int) -> Span:
    """The sentence that holds `text[at]`, looked for within some 150 characters either way."""
    start = max(text.rfind(stop, max(0, at - _MAX_AD), at) for stop in _STOPS) + 1
    start = start or max(0, at - _MAX_AD)
    while start < at and text[start] in _CLOSERS:
        start += 1
    end = at
    limit = min(len(text), at + _MAX_AD)
    while end < limit and text[end] not in _STOPS:
        end += 1
    while end < limit and text[end] != "\n" and text[end] in _STOPS + _CLOSERS:
        end += 1
    return start, end


def _extent(text: str, found: Span, sentence_start: int, sentence_end: int) -> Span:
    """How far a notice reaches within its sentence."""
    start, end = found
    if text[end - 1] not in "）)】]":
        tail = _TAIL.match(text, end, sentence_end)
        clause = _CLAUSE.match(text, end, sentence_end)
        end = tail.end() if tail else clause.end() if clause else end
    while end < sentence_end and (more := _MORE.match(text, end, sentence_end)):
        end = more.end()
    if _LOOSE.match(text, start):
        lead = re.search("[^，。：；“‘「『（(\n]*$", text[sentence_start:start])
        start -= len(lead[0]) if lead else 0
    rest = text[sentence_start:start] + _CUT + text[end:sentence_end]
    if _is_notice(rest) and rest.count("“") == rest.count("”"):
        return sentence_start, sentence_end
    return start, end


def _is_notice(rest: str) -> bool:
    """Whether what is left beside an advertisement (`_CUT`) belongs to it, clause by clause."""
    for clause in re.split("[，。！!？?：:；;、~～…—\\s（()）【】]+", rest):
        if _WORD.search(clause) and not _NOTICE_WORD.search(clause) and not _LEFT.fullmatch(clause):
            return False
    return True


def _with_lines(text: str, spans: list[Span]) -> list[Edit]:
    """Edits that remove the spans, and the lines that nothing but blanks and stops is left of.

    A full stop that would be left with no sentence before it goes along.
    """
    spans = [_with_stop(text, start, end) for start, end in spans]
    edits: list[Edit] = []
    index = 0
    while index < len(spans):
        start = text.rfind("\n", 0, spans[index][0]) + 1
        end = text.find("\n", spans[index][1])
        end = len(text) if end < 0 else end
        inside = []
        while index < len(spans) and spans[index][0] < end:
            inside.append(spans[index])
            index += 1
        left = _left(text, start, end, inside) if end - start <= 4 * _MAX_AD else "正文"
        if not _WORD.search(left) or (end - start <= _MAX_AD and _is_notice(left)):
            edits.append((start, min(end + 1, len(text)), ""))
        else:
            edits += [(a, b, "") for a, b in inside]
    return edits


def _with_stop(text: str, start: int, end: int) -> Span:
    if text[start - 1 : start] + text[end : end + 1] in ("（）", "()", "【】", "[]", "〔〕"):
        start, end = start - 1, end + 1
    lone = start == 0 or text[start - 1] in _STOPS + "“‘「『"
    return start, end + (lone and text[end : end + 1] in tuple("。！？，"))


def _left(text: str, start: int, end: int, removed: list[Span]) -> str:
    edges = [start, *(at for span in removed for at in span), end]
    return _CUT.join(text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True))


# Letters of any dress: full-width, circled, mathematical; and what is put between them.
_LETTER = "A-Za-z0-9Ａ-Ｚａ-ｚ０-９\u2460-\u2473\u24b6-\u24e9\U0001d400-\U0001d7ff"
_BETWEEN = "·•‧・.．。,，、*＊★☆◆◇■□●○_\\-—~～|｜/／\\\\^`'′+＋=#＃&＆@＠:：;；"
_MIN_RUN, _MAX_BETWEEN = 6, 3
_LATIN_RUN = re.compile(rf"[{_LETTER}](?:[{_BETWEEN}]{{0,2}}[{_LETTER}]){{5,60}}")
_SPACED_RUN = re.compile(
    rf"(?<![{_LETTER}])[{_LETTER}](?:[ \u3000{_BETWEEN}]{{1,3}}[{_LETTER}]){{5,60}}(?![{_LETTER}])"
)
_BROKEN_WWW = re.compile(rf"(?:https?)?www[a-z0-9]{{2,30}}(?:{_TOP})(?:cn|tw|hk)?")
_BROKEN_DOMAIN = re.compile(r"[a-z0-9]{2,30}(?:com|net|org|cn|cc)")
_DOT_TOP = re.compile(  # ".com", its letters parted or not
    r"[·•‧・.．。]\s?(?:"
    + "|".join(f"[{_BETWEEN} ]?".join(top) for top in ("com", "net", "org", "cn", "cc"))
    + ")$"
)
_HAN_RUN = re.compile(
    rf"[ \u3000·•‧・*＊★☆◆◇_\-~～|｜/／^+](?<=[{_HAN}].)[ \u3000·•‧・*＊★☆◆◇_\-~～|｜/／^+]?[{_HAN}{_LETTER}]"
    rf"(?:[ \u3000·•‧・.．*＊★☆◆◇_\-~～|｜/／^+]{{1,2}}[{_HAN}{_LETTER}]){{3,60}}"
)
_HAN_NOTICE = re.compile(
    "(?:本[书書站]?(?:[来來]自|由|首[发發])|更多|最新章|[欢歡]迎|手[机機]|天才|一秒|[请請][记記]|[访訪][问問])[^\\s]{0,24}?"
    "(?:[网網][站址]?|[论論][坛壇]|[书書][库庫屋城吧]|下[载載]|首[发發]|整理|[阅閱][读讀]|www[a-z0-9]{2,30}?(?:com|net|cn|org))"
    "(?:整理|提供|首[发發]|下[载載]|免[费費]|[阅閱][读讀]|www[a-z0-9]{2,30}?(?:com|net|cn|org)){0,3}"
)


def find_watermarks(text: str, title: str) -> list[Edit]:
    """Addresses and notices whose characters are parted by symbols or written in odd letters."""
    clusters = _letter_clusters(text)
    spans = [span for run in (_LATIN_RUN, _SPACED_RUN)
             for span in _broken_addresses(text, run, clusters)]  # fmt: skip
    spans += _broken_notices(text)
    merged: list[Span] = []
    for start, end in sorted(spans):
        if not merged or start >= merged[-1][1]:
            merged.append((start, end))
    return _with_lines(text, merged)


def _broken_addresses(text: str, run: re.Pattern[str], clusters: list[Span]) -> Iterator[Span]:
    for match in (match for cluster in clusters for match in run.finditer(text, *cluster)):
        plain = unicodedata.normalize("NFKC", match[0]).lower()
        letters = re.sub("[^a-z0-9]", "", plain)
        www = letters.startswith(("www", "http")) and _BROKEN_WWW.fullmatch(letters)
        domain = _BROKEN_DOMAIN.fullmatch(letters) and _DOT_TOP.search(plain)
        if _ADDRESS.fullmatch(match[0]):
            continue  # nothing is broken up: the rule for advertisements takes it
        if www or (domain and not re.search("[,，、;；:：]", match[0])):
            yield match.span()


def _letter_clusters(text: str) -> list[Span]:
    """Stretches from letter to letter, three other characters apart at most, of six or more: only
    there can a run be. (A set beyond the basic plane makes the patterns themselves slow.)"""
    import numpy as np

    places = _letter_search().indices(text)
    breaks = np.flatnonzero(np.diff(places) > _MAX_BETWEEN + 1) + 1
    firsts = np.concatenate([[0], breaks])[: len(places)]
    lasts = np.append(breaks, len(places))[: len(firsts)] - 1
    long = np.flatnonzero(lasts - firsts >= _MIN_RUN - 1)
    return list(zip(places[firsts[long]].tolist(), (places[lasts[long]] + 1).tolist(), strict=True))


@lru_cache(maxsize=1)
def _letter_search() -> CharacterSearch:
    return CharacterSearch(re.compile(f"[{_LETTER}]"))


def _broken_notices(text: str) -> list[Span]:
    found = []
    for run in _HAN_RUN.finditer(text):
        start = run.start() - 1
        places = [at for at in range(start, run.end()) if _WORD.match(_plain(text[at]))]
        letters = "".join(_plain(text[at]) for at in places)
        notice = _HAN_NOTICE.search(letters)
        if notice:
            found.append((places[notice.start()], places[notice.end() - 1] + 1))
    return found


def _plain(char: str) -> str:
    return unicodedata.normalize("NFKC", char)[:1].lower()
