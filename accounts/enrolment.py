"""What an app that shows codes is told about a new secret."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

import segno

ISSUER: Final = "dataMortem"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A secret to type, the address that holds it, and that address as a QR code in SVG."""

    secret: str
    otpauth_uri: str
    qr_svg: str


def enrolment(email: str, secret: str) -> Enrolment:
    """Return all three for an account."""
    address = _address(email, secret)
    return Enrolment(secret, address, _drawn(address))


def _address(email: str, secret: str) -> str:
    """Return the address. Apps take SHA-1, 6 digits and 30 seconds for granted, so it does not say them."""
    label = quote(f"{ISSUER}:{email}", safe="@:")
    return f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': ISSUER})}"


def _drawn(address: str) -> str:
    """Return the picture: no style, script or class in it, and white behind it whatever is around."""
    drawing = io.BytesIO()
    segno.make_qr(address, error="m").save(
        drawing,
        kind="svg",
        scale=5,
        light="#fff",
        xmldecl=False,
        nl=False,
        svgclass=None,
        lineclass=None,
    )
    return drawing.getvalue().decode("utf-8")
