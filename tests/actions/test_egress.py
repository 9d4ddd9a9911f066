"""Where requests of workflows may go: SEC-10, ENG-214, ENG-215."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mistral.actions.egress import Egress, EgressDenied
from mistral.config import HttpSettings

NAMES = {
    "good.example": ["93.184.216.34"],
    "inner.example": ["10.1.2.3"],
    "mixed.example": ["93.184.216.34", "127.0.0.1"],
    "localhost": ["::1", "127.0.0.1"],
    "scoped.example": ["fe80::1%2"],
    "odd.example": ["what?"],
    "empty.example": [],
}


def resolver(host: str, port: int) -> Sequence[str]:
    try:
        return NAMES[host]
    except KeyError:
        raise OSError(f"{host} is unknown") from None


def egress(**settings: object) -> Egress:
    return Egress(HttpSettings(**settings), resolver)


LOOPBACK_AND_LINK_LOCAL = [
    "127.0.0.1",
    "127.1.2.3",
    "169.254.169.254",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    # ENG-215
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "::127.0.0.1",
    "64:ff9b::127.0.0.1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    # decimal, octal, hexadecimal, short
    "2130706433",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "127.1",
    "127.0.0.1.",
    "0",
    # names
    "localhost",
    "mixed.example",
    "scoped.example",
]


@pytest.mark.parametrize("host", LOOPBACK_AND_LINK_LOCAL)
def test_denied_by_default_sec_10(host: str) -> None:
    """SEC-10, ENG-214, ENG-215: in every spelling, and if any address is denied."""
    with pytest.raises(EgressDenied):
        egress().addresses(host, 80)


@pytest.mark.parametrize("host", LOOPBACK_AND_LINK_LOCAL)
def test_an_empty_list_denies_nothing(host: str) -> None:
    assert egress(denied_cidrs=()).addresses(host, 80)


def test_what_cannot_be_judged_is_refused_sec_10() -> None:
    """SEC-10: fail closed."""
    with pytest.raises(EgressDenied):
        egress(denied_cidrs=()).addresses("odd.example", 80)
    with pytest.raises(OSError, match="no address"):
        egress().addresses("empty.example", 80)
    with pytest.raises(OSError, match="unknown"):
        egress().addresses("nowhere.example", 80)


PRIVATE = [
    "10.0.0.1",
    "172.16.5.5",
    "192.168.1.1",
    "100.64.0.1",
    "fc00::1",
    "fd00:ec2::254",
    "224.0.0.1",
    "168.63.129.16",
    "::ffff:10.0.0.1",
    "inner.example",
]


@pytest.mark.parametrize("host", PRIVATE)
def test_profiles_sec_10(host: str) -> None:
    """SEC-10: private networks are for private clouds only."""
    assert egress().addresses(host, 80)
    with pytest.raises(EgressDenied):
        egress(egress_profile="public-cloud").addresses(host, 80)
    with pytest.raises(EgressDenied):
        egress(egress_profile="public-cloud", denied_cidrs=()).addresses(host, 80)


def test_public_addresses_pass() -> None:
    public = egress(egress_profile="public-cloud")
    assert public.addresses("good.example", 80) == ["93.184.216.34"]
    assert public.addresses("2606:2800:220::1", 443) == ["2606:2800:220::1"]


def test_the_texts_of_the_url_check() -> None:
    """§ 9.2, rules 1 to 3."""
    check = egress(allowed_hosts=("Good.example",)).check_url
    assert check("https://GOOD.example:8443/x") == "good.example"
    for url, text in (
        (
            "ftp://x/",
            r"^URL scheme 'ftp' is not allowed \(only http and https are\)\.$",
        ),
        ("file:///etc/passwd", "URL scheme 'file' is not allowed"),
        ("no-scheme", "URL scheme '' is not allowed"),
        ("http:///path", "no host"),
        ("http://[broken/", "cannot be read"),
        ("http://sub.good.example/", "not among the allowed hosts"),
        ("http://good.example.evil/", "not among the allowed hosts"),
        ("http://good.example@evil/", "not among the allowed hosts"),
    ):
        with pytest.raises(EgressDenied, match=text):
            check(url)


def test_a_denial_does_not_name_the_address() -> None:
    """SEC-10: what a name means inside is nobody's business."""
    with pytest.raises(EgressDenied) as caught:
        egress(egress_profile="public-cloud").addresses("inner.example", 80)
    assert "10.1.2.3" not in str(caught.value)
