"""Steps about coming in: by code, from an office device, without a device."""

from __future__ import annotations

import time

from cli.city.sign_in import browser, sign_in
from cli.tour.stage import NotShown, Shown, Stage, reference_in, require


async def by_code(stage: Stage) -> Shown:
    """Sato asks for a page of the resident register, signs in with a code and lands on that very page."""
    city, person = stage.city, stage.city.person("sato")
    wanted = city.app("juki").sample
    begun = time.monotonic()
    async with browser(city, city.device("SHIMIN-PC-01")) as visitor:
        page = await sign_in(visitor, city, person, wanted)
        spent = time.monotonic() - begun
        require(page.status == 200, f"{wanted} answered {page.status}")
        require(str(page.url) == wanted, f"landed on {page.url}, not on {wanted}")
        require("sato" in page.text, "the app was not told who asks")
    return Shown("パスワードと確認コードで入り、最初に求めた頁に着いた", f"{spent:.2f} s")


async def from_the_office(stage: Stage) -> Shown:
    """Ito passes from a compliant device of hers, again and again on one session."""
    city = stage.city
    async with browser(city, city.device("KAIKEI-PC-01")) as visitor:
        page = await sign_in(visitor, city, city.person("ito"), city.app("zaimu").url)
        require(page.status == 200 and "ito" in page.text, f"the office device was answered {page.status}")
        spans = []
        for _ in range(20):
            begun = time.monotonic()
            async with visitor.http.get(city.app("zaimu").url) as answer:
                await answer.read()
                require(answer.status == 200, f"a later request was answered {answer.status}")
            spans.append(time.monotonic() - begun)
        refused = await visitor.open(city.app("juki").url)
        require(refused.status == 403, f"another department's app was opened: {refused.status}")
        stage.references.append(reference_in(refused.text))
    return Shown(
        "庁内の準拠端末は自分の課のアプリへ、ほかの課のアプリは拒否", f"中央値 {sorted(spans)[10] * 1e3:.1f} ms"
    )


async def without_a_device(stage: Stage) -> Shown:
    """Kato comes without a certificate: refused, told why, what to do and whom to ask."""
    city = stage.city
    async with browser(city) as visitor:
        page = await sign_in(visitor, city, city.person("kato"), city.app("groupware").url)
        require(page.status == 403, f"without a device: {page.status}")
        for part in ("市が登録した端末から利用してください", "内線 1234"):
            if part not in page.text:
                raise NotShown(f"the refusal does not say {part}")
        number = reference_in(page.text)
        stage.references.append(number)
        async with visitor.http.get(city.app("groupware").url, headers={"Accept": "application/json"}) as answer:
            problem = await answer.json(content_type=None)
            require(answer.status == 403 and problem.get("reason"), "a program is not told the reason")
    return Shown("端末証明書なしは拒否。理由・すること・連絡先・受付番号を表示", f"受付番号 {number}")
