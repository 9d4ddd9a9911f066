"""std.email against a live server (spec/engine.md § 9.4)."""

from __future__ import annotations

import base64
import email
import socketserver
import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from answering import answering
from certificates import certificate
from mistral_lib.exceptions import ActionException

from mistral.actions.mail import EmailAction, _place


class Handler(socketserver.StreamRequestHandler):
    """A little SMTP: what was said is kept by the server."""

    server: Server

    def handle(self) -> None:
        said = self.server.said
        self._say("220 here")
        while line := self.rfile.readline().decode().strip():
            verb = line.partition(" ")[0].upper()
            if verb != "DATA":
                said.append(line)
            if verb == "EHLO":
                self._greet()
            elif verb == "STARTTLS":
                self._say("220 go")
                if not self._encrypt():
                    return
            elif verb == "AUTH":
                self._say("235 welcome")
            elif verb == "RCPT" and "nobody@" in line:
                self._say("550 unknown here")
            elif verb == "DATA":
                self._say("354 go on")
                self._read()
                self._say("250 taken")
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 fine")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def _greet(self) -> None:
        secure = isinstance(self.connection, ssl.SSLSocket)
        if secure:
            self._say("250-here\r\n250 AUTH PLAIN")
        elif self.server.certificate:
            self._say("250-here\r\n250 STARTTLS")
        else:
            self._say("250 here")

    def _encrypt(self) -> bool:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(self.server.certificate))
        try:
            self.connection = context.wrap_socket(self.connection, server_side=True)
        except OSError:
            return False
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        return True

    def _read(self) -> None:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        self.server.messages.append(b"".join(lines))


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.said: list[str] = []
        self.messages: list[bytes] = []
        self.certificate: Path | None = None

    @property
    def place(self) -> str:
        return f"localhost:{self.server_address[1]}"

    @property
    def message(self) -> EmailMessage:
        [found] = self.messages
        read: Any = email.message_from_bytes(found, policy=default)
        return read  # type: ignore[no-any-return]


@pytest.fixture
def server() -> Iterator[Server]:
    with answering(Server()) as server:
        yield server


def _send(server: Server, **more: Any) -> Any:
    given = {"from_addr": "a@x.org", "to_addrs": ["b@x.org", "c@x.org"], **more}
    return EmailAction(smtp_server=server.place, **given).run(None)


def test_a_plain_message(server: Server) -> None:
    assert _send(server) is None
    message = server.message
    assert (message["From"], message["To"]) == ("a@x.org", "b@x.org, c@x.org")
    assert message["Subject"] == "<No subject>"
    assert message.get_content().strip() == "<No body>"
    assert message.get_content_type() == "text/plain"
    assert message["Cc"] is None and message["Reply-To"] is None


def test_everything_is_utf_8(server: Server) -> None:
    _send(server, subject="Grüße", body="größer\n.\n— 日本")
    message = server.message
    assert message["Subject"] == "Grüße"
    assert message.get_content_charset() == "utf-8"
    assert message.get_content().splitlines() == ["größer", ".", "— 日本"]


def test_recipients_are_all_and_blind_ones_are_not_shown(server: Server) -> None:
    _send(
        server,
        to_addrs="b@x.org",
        cc_addrs=["cc@x.org"],
        bcc_addrs=["blind@x.org"],
        reply_to=["r@x.org"],
    )
    told = {line.split("<")[1].split(">")[0] for line in server.said if "rcpt" in line}
    assert told == {"b@x.org", "cc@x.org", "blind@x.org"}
    assert (server.message["Cc"], server.message["Reply-To"]) == ("cc@x.org", "r@x.org")
    assert b"blind" not in server.messages[0]


def test_an_html_body_is_an_alternative(server: Server) -> None:
    _send(server, body="plain", html_body="<b>grün</b>")
    message = server.message
    assert message.get_content_type() == "multipart/alternative"
    parts: Any = message.iter_parts()
    found = [(part.get_content_type(), part.get_content().strip()) for part in parts]
    assert found == [("text/plain", "plain"), ("text/html", "<b>grün</b>")]


@pytest.mark.parametrize(
    "given",
    [
        {"to_addrs": ["nobody@x.org"]},
        {"subject": "a\nBcc: evil@x.org"},
        {"smtp_password": "secret"},
    ],
    ids=["refused", "header injection", "no STARTTLS"],
)
def test_failures_have_one_text(server: Server, given: Any) -> None:
    with pytest.raises(
        ActionException, match=r"^Failed to send an email message: "
    ) as e:
        _send(server, **given)
    assert "secret" not in str(e.value)
    assert server.messages == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("mail.x.org", ("mail.x.org", 25)),
        ("mail.x.org:587", ("mail.x.org", 587)),
        ("[::1]:587", ("::1", 587)),
        ("[::1]", ("::1", 25)),
        ("fe80::1", ("fe80::1", 25)),
    ],
)
def test_where_the_server_is(text: str, place: Any) -> None:
    assert _place(text) == place


def test_no_server(server: Server) -> None:
    action = EmailAction("a@x.org", ["b@x.org"], "nowhere.invalid")
    with pytest.raises(ActionException, match=r"^Failed to send an email message: "):
        action.run(None)


def test_a_password_is_given_to_a_verified_server_only(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STARTTLS and login; a certificate that nobody vouches for ends it."""
    server.certificate = certificate(tmp_path / "server.pem")
    with pytest.raises(ActionException, match="certificate verify failed"):
        _send(server, smtp_password="secret")
    assert not any(line.startswith("AUTH") for line in server.said)
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    _send(server, smtp_password="secret")
    [login] = [line for line in server.said if line.startswith("AUTH")]
    assert base64.b64decode(login.split()[-1]) == b"\0a@x.org\0secret"
    assert len(server.messages) == 1
