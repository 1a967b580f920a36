"""One-time set-up letters: one A4 page a person, to print, seal and hand over.

The page holds the set-up code, so whoever asked for it gets it once and keeps it in a file that only they can read.
The code is in the fragment of the QR's address: fragments are not sent to servers, so they reach no log
(RFC 9110 §4.2.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import segno
from markupsafe import Markup, escape

from gateway.settings import Portal

_JST = timezone(timedelta(hours=9))


@dataclass(frozen=True, slots=True)
class Letter:
    """What one letter says."""

    login: str
    name: str
    department: str
    code: str = field(repr=False)
    expires_at: float


_STYLE = """
@page { size: A4; margin: 20mm }
body { font-family: "Noto Sans JP", "Noto Sans CJK JP", sans-serif; line-height: 1.75; color: #1a1a1c; margin: 0 }
section { break-after: page; padding: 8mm; max-width: 170mm }
section:last-child { break-after: auto }
h1 { font-size: 16pt; border-bottom: 2px solid #0017c1; padding-bottom: 2mm }
.to { font-size: 14pt } .code { font-family: monospace; font-size: 18pt; letter-spacing: .08em }
dl { display: grid; grid-template-columns: 40mm 1fr; gap: 2mm } dt { font-weight: 700 } dd { margin: 0 }
.note { border: 1px solid #1a1a1c; padding: 4mm; margin-top: 8mm }
"""


def letters_page(portal: Portal, letters: Sequence[Letter], now: float) -> str:
    """The letters as one HTML document without remote assets; break pages between people."""
    pages = Markup("").join(_page(portal, letter, now) for letter in letters)
    head = Markup(
        '<!doctype html>\n<html lang="ja"><head><meta charset="utf-8"><title>初回設定のご案内</title><style>{}</style>'
    )
    style = Markup(_STYLE)  # noqa: S704 (a constant of this file)
    return str(head.format(style) + Markup("</head><body>{}</body></html>\n").format(pages))


def _page(portal: Portal, letter: Letter, now: float) -> Markup:
    address = f"{portal.origin}/setup"
    drawn = segno.make_qr(f"{address}#{letter.code}", error="m").svg_inline(scale=4, border=4)
    picture = Markup(drawn)  # noqa: S704 (drawn by segno: paths and numbers only)
    return Markup(
        "<section><p>{made}</p><p class='to'>{department}<br>{name} 様</p>"
        "<h1>{organisation} サインインの初回設定のご案内</h1>"
        "<p>業務システムを利用するための初回設定をお願いします。<strong>{until}まで</strong>に、次の手順で設定してください。</p>"
        "<ol><li>ブラウザーで次のアドレスを開くか、QRコードを読み取ってください。<br><strong>{address}</strong></li>"
        "<li>職員IDと設定コードを入力してください。</li>"
        "<li>画面の案内にしたがって、パスワードと確認コード(またはパスキー)を登録してください。</li></ol>"
        "<dl><dt>職員ID</dt><dd class='code'>{login}</dd><dt>設定コード</dt><dd class='code'>{code}</dd></dl>"
        "<p>{picture}</p>"
        "<div class='note'>設定コードは一度だけ使えます。他の人に見せないでください。"
        "設定が終わったら、この用紙は細断してください。"
        "<br>困ったとき: {help}</div></section>"
    ).format(
        made=_day(now),
        department=letter.department,
        name=letter.name,
        organisation=portal.organisation,
        until=_day(letter.expires_at),
        address=address,
        login=letter.login,
        code=letter.code,
        picture=picture,
        help=escape(portal.help_contact),
    )


def _day(at: float) -> str:
    """The day in Japan with its era year: 令和8年11月22日."""
    day = datetime.fromtimestamp(at, _JST)
    return f"令和{day.year - 2018}年{day.month}月{day.day}日"
