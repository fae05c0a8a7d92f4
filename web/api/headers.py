"""Headers that keep a browser from doing what nobody meant: for the console's page and for the API's answers."""

from __future__ import annotations

from quart import Response

__all__ = ["PAGE_POLICY", "secure_answer", "secure_page"]

PAGE_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self' blob:; font-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_HSTS = "max-age=31536000"


def secure_page(response: Response, *, https: bool = False, also: str = "") -> Response:
    """For pages and their files: no script, style, font or connection from anywhere else, and none inline.

    Args:
        https: the service's public address is https: browsers shall not try anything else.
        also: more sources for `connect-src`, such as the handset's websocket.
    """
    policy = PAGE_POLICY.replace("connect-src 'self'", f"connect-src 'self' {also}") if also else PAGE_POLICY
    response.headers["Content-Security-Policy"] = policy
    response.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(self)"
    return _always(response, https=https)


def secure_answer(response: Response, *, https: bool = False) -> Response:
    """For the API's answers: nothing in them is ever a page, and nobody keeps them."""
    response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["Vary"] = "Cookie, Authorization"
    return _always(response, https=https)


def _always(response: Response, *, https: bool) -> Response:
    for name, value in _ALWAYS.items():
        response.headers[name] = value
    if https:
        response.headers["Strict-Transport-Security"] = _HSTS
    return response
