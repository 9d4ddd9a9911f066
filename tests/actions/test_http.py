"""std.http and std.mistral_http against a live server (spec/engine.md § 9.2)."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from answering import answering
from certificates import certificate
from mistral_lib.actions import Result
from mistral_lib.actions.context import ActionContext, ExecutionContext
from mistral_lib.exceptions import ActionException

from mistral.actions.egress import EgressDenied
from mistral.actions.http import HttpAction, MistralHttpAction
from mistral.config import HttpSettings

OPEN = HttpSettings(denied_cidrs=())


class Handler(BaseHTTPRequestHandler):
    """``/status/<n>``, ``/to?<url>`` and ``/loop`` redirect, ``/flood`` never
    ends, ``/drip/<n>`` neither, slowly: after n bytes of an answer it waits for the
    end of the test; ``/bomb`` is small until decoded; everything else tells what it
    got."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        parts = urlsplit(self.path)
        kind, _, argument = parts.path.strip("/").partition("/")
        if kind == "status":
            self.answer(int(argument), {"was": argument})
        elif kind == "to":
            self.answer(302, {}, {"Location": unquote(parts.query)})
        elif kind == "loop":
            self.answer(302, {}, {"Location": "/loop"})
        elif kind == "bytes":
            self.answer(200, b"x" * int(argument))
        elif kind == "text":
            self.answer(200, "grün".encode("latin-1"), {"Content-Type": "text/plain"})
        elif kind == "bomb":
            packed = gzip.compress(b"x" * 1_000_000)
            self.answer(200, packed, {"Content-Encoding": "gzip"})
        elif kind == "flood":
            self.flood(int(argument))
        elif kind == "drip":
            self.drip(int(argument))
        else:
            self.answer(
                200,
                {
                    "method": self.command,
                    "path": parts.path,
                    "query": parse_qs(parts.query),
                    "headers": {k.lower(): v for k, v in self.headers.items()},
                    "body": body.decode(),
                },
                {"Set-Cookie": "c=1"},
            )

    do_POST = do_PUT = do_DELETE = do_GET

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "99999999")
        self.end_headers()

    def flood(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Location", "/final")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
        except OSError:
            self.close_connection = True
            self.server.hung_up.set()

    def drip(self, count: int) -> None:
        text = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
        self.wfile.write(text[:count])
        self.server.over.wait(60)
        self.close_connection = True

    def answer(
        self, status: int, body: Any, headers: dict[str, str] | None = None
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[str] = []
        self.hung_up = threading.Event()
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    with answering(Server()) as server:
        yield server
        server.over.set()


def run(
    url: str, settings: HttpSettings = OPEN, cls: Any = HttpAction, **given: Any
) -> Any:
    action = cls(url, **given)
    action.settings = settings
    return action.run(None)


def resolving(names: dict[str, list[str]]) -> tuple[type[HttpAction], list[str]]:
    """An action with a resolver of its own, and what that was asked."""
    asked: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        if host not in names:
            raise socket.gaierror(-2, "Name or service not known")
        return names[host]

    return type("Resolving", (HttpAction,), {"resolve": staticmethod(resolve)}), asked


def test_the_dictionary_eng_213(server: Server) -> None:
    """ENG-213: success."""
    answer = run(server.url + "/x", params={"q": "1"})
    assert set(answer) == {
        *("content", "status", "headers", "cookies", "url"),
        *("history", "encoding", "reason", "elapsed"),
    }
    assert answer["status"] == 200
    assert answer["content"]["query"] == {"q": ["1"]}
    assert answer["cookies"] == {"c": "1"}
    assert answer["url"] == server.url + "/x?q=1"
    assert answer["history"] == []
    assert answer["reason"] == "OK"
    assert isinstance(answer["elapsed"], float)
    json.dumps(answer)


@pytest.mark.parametrize("status", [400, 404, 307, 500, 503])
def test_other_statuses_are_error_results_eng_213(server: Server, status: int) -> None:
    """ENG-213: an error result with the same dictionary."""
    result = run(f"{server.url}/status/{status}")
    assert isinstance(result, Result) and result.is_error()
    assert result.error["status"] == status
    assert result.error["content"] == {"was": str(status)}


@pytest.mark.parametrize(
    ("given", "part", "expected"),
    [
        ({}, "method", "GET"),
        ({"method": "put"}, "method", "PUT"),
        ({"method": "POST", "body": {"a": 1}}, "body", '{"a": 1}'),
        ({"method": "POST", "body": "grün"}, "body", "grün"),
        ({"method": "POST", "json": {"a": "ü"}}, "body", '{"a": "\\u00fc"}'),
    ],
)
def test_what_is_sent(
    server: Server, given: dict[str, Any], part: str, expected: str
) -> None:
    assert run(server.url, **given)["content"][part] == expected


@pytest.mark.parametrize(
    ("given", "header", "expected"),
    [
        ({"headers": {"X-Number": 7}}, "x-number", "7"),
        ({"method": "POST", "json": []}, "content-type", "application/json"),
        ({"auth": "me:pw"}, "authorization", "Basic bWU6cHc="),
        ({"cookies": {"a": "b"}}, "cookie", "a=b"),
    ],
)
def test_what_headers_are_sent(
    server: Server, given: dict[str, Any], header: str, expected: str
) -> None:
    assert run(server.url, **given)["content"]["headers"][header] == expected


def test_body_and_json_together_eng_216() -> None:
    """ENG-216: refused when it is made."""
    with pytest.raises(ActionException, match="expected body or json, found both"):
        HttpAction("http://x", body="a", json={})


def test_credentials_need_exactly_one_colon() -> None:
    with pytest.raises(ActionException) as caught:
        HttpAction("http://x", auth="a:CANARY:c")
    assert "CANARY" not in str(caught.value)


def test_text_is_text(server: Server) -> None:
    assert run(server.url + "/text")["content"] == "grün"


def test_the_url_s_host_is_kept(server: Server) -> None:
    """SEC-10: connected to the address, spoken to by name."""
    cls, asked = resolving({"good.example": ["127.0.0.1"]})
    url = f"http://good.example:{server.server_port}/"
    answer = run(url, cls=cls)
    assert answer["content"]["headers"]["host"] == f"good.example:{server.server_port}"
    assert answer["url"] == url
    assert asked == ["good.example"]


def test_a_name_is_resolved_once_sec_10(server: Server) -> None:
    """SEC-10: a name that changes its address between two look-ups gains nothing,
    because there is one look-up, and its answer is the one that is connected to."""
    answers = [["192.0.2.1"], ["127.0.0.1"]]
    asked: list[list[str]] = []

    def rebind(host: str, port: int) -> Sequence[str]:
        asked.append(answers[min(len(asked), 1)])
        return asked[-1]

    cls = type("Rebinding", (HttpAction,), {"resolve": staticmethod(rebind)})
    settings = HttpSettings(default_timeout=1)
    with pytest.raises(ActionException, match=r"^Failed to send HTTP request: "):
        run(f"http://evil.example:{server.server_port}/", settings, cls, timeout=0.05)
    assert asked == [["192.0.2.1"]]
    assert server.seen == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "[::1]"]
)
def test_loopback_is_refused_eng_214(server: Server, host: str) -> None:
    """ENG-214, ENG-215, SEC-10."""
    with pytest.raises(EgressDenied):
        run(f"http://{host}:{server.server_port}/", HttpSettings())
    assert server.seen == []


def test_redirects_are_judged_eng_215(server: Server) -> None:
    """ENG-215, SEC-10: each hop."""
    cls, _ = resolving({"good.example": ["127.0.0.1"], "evil.example": ["127.0.0.2"]})
    settings = HttpSettings(denied_cidrs=("127.0.0.2/32",))
    port = server.server_port
    start = f"http://good.example:{port}/to"
    for target in (
        f"http://evil.example:{port}/secret",
        f"http://127.0.0.2:{port}/secret",
        f"http://[::ffff:127.0.0.2]:{port}/secret",
    ):
        with pytest.raises(EgressDenied):
            run(f"{start}?{target}", settings, cls, allow_redirects=True)
    only = HttpSettings(denied_cidrs=(), allowed_hosts=("good.example",))
    with pytest.raises(EgressDenied, match="not among the allowed hosts"):
        run(f"{start}?http://evil.example:{port}/", only, cls, allow_redirects=True)
    with pytest.raises(ActionException):
        run(f"{start}?file:///etc/passwd", settings, cls, allow_redirects=True)
    assert not [path for path in server.seen if "secret" in path.partition("?")[0]]


def test_redirects_are_followed_only_when_asked(server: Server) -> None:
    url = f"{server.url}/to?/there"
    assert run(url)["status"] == 302
    answer = run(url, allow_redirects=True)
    assert answer["content"]["path"] == "/there"
    assert [(hop["status"], hop["url"]) for hop in answer["history"]] == [(302, url)]


def test_redirects_end(server: Server) -> None:
    with pytest.raises(ActionException, match=r"^Failed to send HTTP request: "):
        run(f"{server.url}/loop", allow_redirects=True)
    assert len(server.seen) < 50


def test_proxies_of_users_are_ignored_sec_10(server: Server) -> None:
    """SEC-10: the request goes straight, under the same rules."""
    proxies = {"http": "http://127.0.0.1:1"}
    assert run(server.url + "/x", proxies=proxies)["content"]["path"] == "/x"
    with pytest.raises(EgressDenied):
        run(server.url, HttpSettings(), proxies=proxies)


def test_allowed_proxies_are_judged_sec_10(server: Server) -> None:
    """SEC-10: address of the proxy and, where it is known, of the target."""
    cls, _ = resolving({"good.example": ["192.0.2.1"], "bad.example": ["127.0.0.9"]})
    proxies = {"http": server.url}
    denied = ("127.0.0.9/32",)
    settings = HttpSettings(allow_user_proxies=True, denied_cidrs=denied)
    answer = run("http://good.example/x", settings, cls, proxies=proxies)
    assert answer["content"]["path"] == "/x"
    assert server.seen == ["http://good.example/x"]
    with pytest.raises(EgressDenied):
        run("http://bad.example/", settings, cls, proxies=proxies)
    with pytest.raises(EgressDenied):
        strict = HttpSettings(allow_user_proxies=True)
        run("http://good.example/", strict, cls, proxies=proxies)
    with pytest.raises(EgressDenied):
        socks = {"http": "socks5://192.0.2.1"}
        run("http://good.example/", settings, cls, proxies=socks)


def test_the_environment_s_proxies_are_not_for_users(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert run(server.url)["status"] == 200


def test_too_large_by_length(server: Server) -> None:
    settings = HttpSettings(denied_cidrs=(), max_response_size_bytes=100)
    assert run(server.url + "/bytes/100", settings)["content"] == "x" * 100
    with pytest.raises(
        ActionException,
        match=r"^HTTP response is too large \(Content-Length=101, limit=100 bytes\)\.$",
    ):
        run(server.url + "/bytes/101", settings)
    assert run(server.url, settings, method="HEAD")["content"] == ""


def test_the_cap_holds_while_streaming_sec_10(server: Server) -> None:
    """SEC-10: without a length, after decoding, and for redirects too."""
    settings = HttpSettings(denied_cidrs=(), max_response_size_bytes=50_000)
    for path in ("/flood/200", "/bomb", "/flood/302"):
        with pytest.raises(ActionException, match="too large"):
            run(server.url + path, settings, allow_redirects=True)
    assert server.hung_up.wait(5)


def test_no_cap_when_zero(server: Server) -> None:
    settings = HttpSettings(denied_cidrs=(), max_response_size_bytes=0)
    assert len(run(server.url + "/bytes/6000000", settings)["content"]) == 6_000_000


@pytest.mark.parametrize("timeout", [0, None])
def test_a_timeout_of_zero_is_none(server: Server, timeout: int | None) -> None:
    """§ 9.2: 0 = no timeout, of the action and of the option."""
    settings = HttpSettings(denied_cidrs=(), default_timeout=0)
    assert run(server.url, settings, timeout=timeout)["status"] == 200


@pytest.mark.parametrize("sent", [0, 20, 42], ids=["nothing", "head", "body"])
def test_a_request_has_an_end(server: Server, sent: int) -> None:
    """§ 9.2 (Required: stream with a hard cap): without a time-out of its own it
    ends all the same, wherever the server stops to answer."""
    settings = HttpSettings(denied_cidrs=(), default_timeout=0, total_timeout=0.3)
    with pytest.raises(
        ActionException, match=r"^Failed to send HTTP request: .*0\.3 s"
    ):
        run(f"{server.url}/drip/{sent}", settings)


def test_an_encrypted_request_has_an_end(server: Server, tmp_path: Path) -> None:
    pem = certificate(tmp_path / "server.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = f"https://localhost:{server.server_port}"
    assert run(url, verify=str(pem))["status"] == 200
    settings = HttpSettings(denied_cidrs=(), default_timeout=0, total_timeout=0.5)
    with pytest.raises(ActionException, match=r"took longer than 0\.5 s"):
        run(f"{url}/drip/42", settings, verify=str(pem))


def test_a_longer_timeout_of_its_own_is_honoured(server: Server) -> None:
    """§ 9.2: ``timeout`` bounds connecting and each read; the total is no less
    than both."""
    settings = HttpSettings(denied_cidrs=(), total_timeout=0.000001)
    assert run(server.url, settings, timeout=30)["status"] == 200


def test_a_read_timeout_counts_for_each_read(server: Server) -> None:
    with pytest.raises(
        ActionException, match=r"^Failed to send HTTP request: .*imed out"
    ):
        run(f"{server.url}/drip/0", timeout=0.2)


@pytest.mark.parametrize("timeout", [-1, "soon", float("inf")])
def test_wrong_timeouts(timeout: Any) -> None:
    with pytest.raises(ActionException, match="timeout"):
        run("http://192.0.2.1/", timeout=timeout)


def test_failures_have_one_text() -> None:
    """§ 9.2: connection, DNS and timeout failures; unresolved names go nowhere."""
    cls, _ = resolving({})
    with pytest.raises(ActionException, match=r"^Failed to send HTTP request: .*Name"):
        run("http://nowhere.example/", HttpSettings(), cls)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(ActionException, match=r"^Failed to send HTTP request: "):
            run(f"http://127.0.0.1:{port}/")


def test_a_ca_bundle_says_nothing_about_files_sec_05(tmp_path: Any) -> None:
    """SEC-05: missing, unreadable and malformed are one error."""
    junk = tmp_path / "junk"
    junk.write_text("no certificate")
    said = set()
    for path in (str(junk), str(tmp_path), str(tmp_path / "missing")):
        with pytest.raises(ActionException) as caught:
            run("https://192.0.2.1/", verify=path)
        said.add(str(caught.value))
    assert said == {"std.http: the CA bundle of verify cannot be used."}


def test_logs_hold_no_secrets_sec_09(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """SEC-09"""
    settings = HttpSettings(denied_cidrs=(), sensitive_headers=("X-Mine",))
    with caplog.at_level(logging.DEBUG, logger="mistral"):
        run(
            server.url.replace("//", "//user:CANARY@") + "/x?token=CANARY&page=2",
            settings,
            method="POST",
            headers={"X-Auth-Token": "CANARY", "X-Mine": "CANARY", "X-Plain": "shown"},
            cookies={"session": "CANARY"},
            json={"password": "CANARY", "plain": "shown"},
        )
    said = "\n".join(caplog.messages)
    assert "CANARY" not in said and "shown" not in said and "page" not in said
    assert f"POST {server.url}/***" in said
    assert "headers X-Auth-Token, X-Plain, body dict of 2" in said, "no X-Mine"


def test_hidden_bodies(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    settings = HttpSettings(
        denied_cidrs=(), hide_request_body=True, hide_response_body=True
    )
    with caplog.at_level(logging.DEBUG, logger="mistral"):
        run(server.url, settings, method="POST", body="CANARY")
    said = "\n".join(caplog.messages)
    assert "CANARY" not in said and "body ***" in said and "body str" not in said


def test_mistral_http_names_the_execution_eng_217(server: Server) -> None:
    """ENG-217: five headers; it is asynchronous."""
    context = ActionContext(
        execution_ctx=ExecutionContext(
            workflow_name="wf",
            workflow_execution_id="w1",
            task_execution_id="t1",
            action_execution_id="a1",
            callback_url="/v2/action_executions/a1",
        )
    )
    action = MistralHttpAction(server.url)
    action.settings = OPEN
    assert action.is_sync() is False
    headers = action.run(context)["content"]["headers"]
    assert {k: v for k, v in headers.items() if k.startswith("mistral-")} == {
        "mistral-workflow-name": "wf",
        "mistral-workflow-execution-id": "w1",
        "mistral-task-id": "t1",
        "mistral-action-execution-id": "a1",
        "mistral-callback-url": "/v2/action_executions/a1",
    }


def test_mistral_http_reports_a_refusal(server: Server) -> None:
    """§ 9.3: another status ends it with the error."""
    result = run(server.url + "/status/500", cls=MistralHttpAction)
    assert isinstance(result, Result) and result.error["status"] == 500
