"""From a template and values to an answer: the one way in which HTML leaves the portal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.gate.reference import shown
from gateway.portal import cookies
from gateway.portal.arrival import Arrival, arrival_of, context_of
from gateway.portal.forms import TOKEN_FIELD, form_token
from gateway.portal.language import choose, reason_texts, texts
from policies.reasons import Reason

JAPAN = timezone(timedelta(hours=9))  # no daylight saving time since 1951
_ARRIVAL = web.RequestKey("arrival", Arrival)


def arrival(request: web.Request) -> Arrival:
    """The arrival of this request, read once."""
    if _ARRIVAL not in request:
        request[_ARRIVAL] = arrival_of(request)
    return request[_ARRIVAL]


def language(request: web.Request) -> str:
    """The language of this answer."""
    chosen = request.query.get("lang") or request.cookies.get(cookies.LANGUAGE)
    return choose(context_of(request), arrival(request), chosen, request.headers.get("Accept-Language", ""))


def page(
    request: web.Request, template: str, *, binding: str | None = None, status: int = 200, **values: Any
) -> web.Response:
    """Render one page. `binding` ties its forms to a flow's key or a session's id; without it a page has no form.

    Templates see `t(key, …)`, `reason(code)`, `moment(time)`, `token(path)`, `settings`, `who`
    (arrival), `person`, `here` (path) and `lang`; `values` may replace each.
    """
    context, lang = context_of(request), language(request)
    known: dict[str, Any] = {
        "t": lambda key, **parts: texts(lang)[key].format(**parts),
        "reason": lambda code: reason_texts(lang)[code],
        "moment": lambda wall: format_time(wall, lang),
        "token": lambda path: form_token(context, binding, path) if binding is not None else "",
        "token_field": TOKEN_FIELD,
        "settings": context.settings,
        "who": arrival(request),
        "lang": lang,
        "languages": language_links(request, lang),
        "here": request.path,
        "person": arrival(request).user,
    }
    body = _environment().get_template(template).render(known | values)
    return web.Response(text=body, status=status, content_type="text/html", charset="utf-8")


def refusal(
    request: web.Request, reason: Reason, *, status: int, links: tuple[tuple[str, str], ...] = (), ask: bool = True
) -> web.Response:
    """A page that says what happened, what to do, whom to ask; `links` are address and text key."""
    reference = shown(arrival(request).source.request_id)
    return page(request, "refused.html", status=status, code=reason.value, links=links, ask=ask, reference=reference)


def go(address: str) -> web.Response:
    """Send the browser on with GET (RFC 9110 §15.4.4)."""
    return web.Response(status=303, headers={"Location": address})


def format_time(wall: float | None, lang: str) -> str:
    """A time for people, in Japan time, to the minute."""
    if wall is None:
        return "-"
    local = datetime.fromtimestamp(wall, UTC).astimezone(JAPAN)
    if lang == "ja":
        return f"{local.year}年{local.month}月{local.day}日 {local.hour}時{local.minute:02d}分"
    return f"{local:%Y-%m-%d %H:%M} JST"


def language_links(request: web.Request, lang: str) -> tuple[tuple[str, str], ...]:
    """Language code and address of the same page in the other languages; none on the answer to a form."""
    if request.method != "GET":
        return ()
    return tuple((other, str(request.rel_url.update_query(lang=other))) for other in ("ja", "en") if other != lang)


def render(template: str, **values: Any) -> str:
    """Render a template outside any request (pages that workers show)."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("gateway.portal"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
