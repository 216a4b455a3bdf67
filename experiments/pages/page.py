"""Build the page as one file that includes its style and script and fetches nothing."""

import base64
import datetime
import hashlib
import os
from collections.abc import Sequence

from .markup import Markup, joined, tag

HERE = os.path.dirname(os.path.abspath(__file__))
LARGEST = 15 * 2**20
"""Largest size of a page, in bytes."""


def page(title: str, sections: Sequence[tuple[str, str, Markup]], origin: str) -> str:
    """Return a page of sections (id, name, content); the footer shows `origin`.

    The page's security policy forbids fetching, and every script except the page's own.
    """
    script, style = (_asset(name) for name in ("script.js", "style.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    shown = [(name, text, content) for name, text, content in sections if content]
    made = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(style)),
    )
    links = [tag("a", text, href=f"#{name}") for name, text, _ in shown]
    body = tag(
        "body",
        tag("a", "Skip to the content", href="#content", class_="skip"),
        tag("header", tag("h1", title), tag("nav", *links, aria_label="sections") if len(links) > 1 else None),
        tag("main", [content for *_, content in shown], id="content"),
        tag("footer", tag("p", f"Written {made} by aeseg, {origin}.")),
        tag("script", Markup(script)),
    )
    return "<!doctype html>\n" + joined(tag("html", head, body, lang="en")) + "\n"


def _asset(name: str) -> str:
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        return file.read()
