"""std.email (spec/engine.md § 9.4)."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final

from mistral_lib.exceptions import ActionException

from mistral.actions.builtin import BuiltinAction

TIMEOUT: Final = 60.0
"""Seconds to connect, and for each answer of the server."""


class EmailAction(BuiltinAction):
    """Sends a message by SMTP.

    With smtp_password the connection is encrypted first (STARTTLS, and the
    server's certificate is verified), then from_addr logs in. With html_body the
    message has two forms, of which a reader shows the better one.
    """

    NAME = "std.email"

    def __init__(
        self,
        from_addr: str,
        to_addrs: Sequence[str],
        smtp_server: str,
        reply_to: Sequence[str] = (),
        cc_addrs: Sequence[str] = (),
        bcc_addrs: Sequence[str] = (),
        smtp_password: str | None = None,
        subject: str = "<No subject>",
        body: str = "<No body>",
        html_body: str | None = None,
    ) -> None:
        self.from_addr = from_addr
        self.to_addrs = _addresses(to_addrs)
        self.smtp_server = smtp_server
        self.reply_to = _addresses(reply_to)
        self.cc_addrs = _addresses(cc_addrs)
        self.bcc_addrs = _addresses(bcc_addrs)
        self.smtp_password = smtp_password
        self.subject = subject
        self.body = body
        self.html_body = html_body

    def run(self, context: object) -> None:
        """:raises ActionException: ``Failed to send an email message: …``."""
        recipients = [*self.cc_addrs, *self.bcc_addrs, *self.to_addrs]
        try:
            message = self._message()
            host, port = _place(str(self.smtp_server))
            with smtplib.SMTP(host, port, timeout=TIMEOUT) as server:
                if self.smtp_password:
                    server.starttls(context=ssl.create_default_context())
                    server.login(self.from_addr, str(self.smtp_password))
                server.send_message(message, self.from_addr, recipients)
        # ValueError: a line break in a header, or a server that is no name
        except (OSError, ValueError) as error:
            raise ActionException(
                f"Failed to send an email message: {error}"
            ) from error

    def _message(self) -> EmailMessage:
        """Headers and bodies; blind copies are not among the headers."""
        message = EmailMessage(policy=SMTP)
        message["From"] = self.from_addr
        message["To"] = ", ".join(self.to_addrs)
        if self.cc_addrs:
            message["Cc"] = ", ".join(self.cc_addrs)
        if self.reply_to:
            message["Reply-To"] = ", ".join(self.reply_to)
        message["Subject"] = str(self.subject)
        message.set_content(str(self.body), charset="utf-8")
        if self.html_body is not None:
            html = str(self.html_body)
            message.add_alternative(html, subtype="html", charset="utf-8")
        return message


def _place(text: str) -> tuple[str, int]:
    """``host[:port]`` in two; the host alone is what a certificate is for."""
    host, mark, port = text.rpartition(":")
    if mark and port.isdecimal() and (":" not in host or host.endswith("]")):
        return host.strip("[]"), int(port)
    return text.strip("[]"), smtplib.SMTP_PORT


def _addresses(given: Sequence[str] | str | None) -> list[str]:
    """A list of addresses; one that stands alone is meant as a list of it."""
    if not given:
        return []
    return [given] if isinstance(given, str) else [str(each) for each in given]
