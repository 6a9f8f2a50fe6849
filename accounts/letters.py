"""What each mail says: a template for each kind and language, and one frame for all in HTML.

The first line of a template is the subject, the paragraphs after it are the text; a paragraph that
is the link becomes one in HTML. Nothing that a stranger typed (at registration) is repeated to
the owner of an address: nobody sends advertisements through this.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.http import HttpRequest
from django.template import Context, engines
from django.template.loader import render_to_string
from django.utils.module_loading import import_string
from django.utils.translation import get_language_from_request

from accounts.models import User

#: The languages that mails are written in; whoever has another one gets the first.
LANGUAGES: Final = ("en", "fr", "de")
#: How much of a name or title a mail repeats.
_LONGEST: Final = 120
_PARAGRAPHS: Final = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True)
class Letter:
    """To whom a mail goes in the end, and what its template needs."""

    address: str
    locale: str = ""
    token: str = ""
    words: Mapping[str, Any] = field(default_factory=dict)


#: Looks at what a mail is about when it is made: the letter, or None when none is to be sent.
Writer = Callable[[str, str, Mapping[str, Any]], Letter | None]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of mail: the page its link leads to, and who says at the last moment what is in it.

    Writers stand here by name: they lie beside what they speak of, which posts mail itself.
    """

    page: str = ""
    writer: str = "accounts.letters.as_posted"


KINDS: Final = {
    "verify_address": Kind("/email/verify/", "accounts.registration.letter_to_verify"),
    "already_registered": Kind("/password/reset/", "accounts.registration.letter_to_known"),
    "reset_password": Kind("/password/reset/confirm/", "accounts.passwords.letter_to_reset"),
    "password_changed": Kind("/password/reset/"),
    "second_factor_reset": Kind("/account/"),
    "invitation": Kind("/invitation/", "accounts.letters.invitation"),
    "admin_joined": Kind("/"),
}


def account_of(address: str) -> User | None:
    """Return the active account of an address; mail goes to the address as the account has it.

    One that merely compares alike, such as with a dotless i, gets nothing that is another's.
    """
    try:
        user = User.objects.get_by_natural_key(address)
    except User.DoesNotExist:
        return None
    return user if user.is_active else None


def language_of(request: HttpRequest) -> str:
    """Return the language that a browser asks for; an empty text where it asks for none."""
    return get_language_from_request(request) if request.headers.get("Accept-Language") else ""


def as_posted(recipient: str, locale: str, context: Mapping[str, Any]) -> Letter:
    """Return the letter that says what was posted."""
    return Letter(recipient, locale, words=context)


def invitation(recipient: str, locale: str, context: Mapping[str, Any]) -> Letter | None:
    """Return the letter of an invitation with a new token; none when it stands no more."""
    mint: Callable[[int], str | None] = import_string("accounts.invitations.mint")
    token = mint(context["invitation"])
    return Letter(recipient, locale, token, {"case": context.get("case", "")}) if token else None


def write(
    kind: str, recipient: str, locale: str, context: Mapping[str, Any]
) -> EmailMultiAlternatives | None:
    """Return a mail ready to be sent, its token minted in this moment; None when none is to be sent."""
    writer: Writer = import_string(KINDS[kind].writer)
    letter = writer(recipient, locale, context)
    if letter is None:
        return None
    link = f"{settings.PUBLIC_URL}{KINDS[kind].page}" + (f"?token={letter.token}" if letter.token else "")
    language = _language(letter.locale)
    words = {name: _plain(value) for name, value in letter.words.items()}
    subject, text = _render(f"accounts/mail/{language}/{kind}.txt", {**words, "link": link})
    html = render_to_string(
        "accounts/mail/frame.html",
        {"language": language, "subject": subject, "link": link, "parts": _PARAGRAPHS.split(text)},
    )
    message = EmailMultiAlternatives(
        subject, f"{text}\n", to=[letter.address], headers={"Auto-Submitted": "auto-generated"}
    )
    message.attach_alternative(html, "text/html")
    return message


def _render(template: str, words: dict[str, Any]) -> tuple[str, str]:
    """Return subject and text of a template; in plain text nothing needs escaping."""
    text = engines["django"].engine.get_template(template).render(Context(words, autoescape=False))  # type: ignore[attr-defined]
    subject, _, body = text.strip().partition("\n")
    return subject.strip(), body.strip()


def _language(locale: str) -> str:
    language = locale.replace("_", "-").partition("-")[0].lower()
    return language if language in LANGUAGES else LANGUAGES[0]


def _plain(value: Any) -> Any:
    """Return a name or title as one short line that cannot pass for text of ours."""
    if not isinstance(value, str):
        return value
    line = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in value)
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
