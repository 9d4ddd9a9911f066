"""Trusts (spec/rest-api.md § 4.4), by a stand-in of Keystone and by a real one: what
the first does here the second does, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from identity import SERVICE_PASSWORD, FakeKeystone, served
from servers import NoServer
from system.keystone import CAST, PASSWORD, SERVICE_USER, running_keystone

from mistral.config import load, separate
from mistral.context import Context
from mistral.errors import Forbidden, Unavailable
from mistral.trusts import Trusts


@dataclass
class World:
    """A Keystone, and a member of a project of it.

    :param standing: how many trusts there are.
    """

    options: str
    member: Context
    password: str
    standing: Callable[[], int]
    home: Path

    def trusts(self, options: str | None = None) -> Trusts:
        file = self.home / "mistral.conf"
        file.write_text(self.options if options is None else options)
        environ = {"HOME": str(self.home), "XDG_DATA_HOME": str(self.home)}
        settings = load(["--config-file", str(file)], environ=environ, serving=False)
        return Trusts(separate(settings.source))


def _fake(home: Path) -> Iterator[World]:
    fake = FakeKeystone()
    with served(fake.answer) as fake.url:
        token = fake.issue("token-of-ann", "red", ["member"])
        member = Context(
            project_id="red", user_id="u1", roles=("member",), auth_token=token
        )
        yield World(
            fake.options(), member, SERVICE_PASSWORD, lambda: len(fake.trusts), home
        )


def _real(home: Path) -> Iterator[World]:
    with running_keystone(home) as keystone:
        member = Context(
            project_id=keystone.ids[CAST["ann"].project],
            user_id=keystone.ids["ann"],
            # with what a role implies, as tokens have it
            roles=("member", "reader"),
            auth_token=keystone.token("ann"),
        )
        yield World(
            keystone.options(),
            member,
            PASSWORD.format(SERVICE_USER),
            lambda: len(keystone.trusts()),
            home,
        )


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(_fake, id="fake"),
        pytest.param(_real, id="keystone", marks=pytest.mark.system),
    ],
)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    try:
        yield from request.param(tmp_path_factory.mktemp("world"))
    except NoServer as missing:
        pytest.skip(str(missing))


def test_rest_a_trust_gives_tokens_until_it_ends(world: World) -> None:
    trusts = world.trusts()
    trust = trusts.make(world.member)
    assert world.standing() == 1
    entered = trusts.enter(trust, world.member.project_id)
    assert entered["auth_token"] not in ("", world.member.auth_token)
    assert isinstance(entered["service_catalog"], list)
    assert entered["expires_at"].endswith("Z")
    assert trusts.enter(trust, world.member.project_id) == entered
    trusts.drop(trust)
    assert world.standing() == 0
    trusts.drop(trust)
    with pytest.raises(Forbidden, match="trust"):
        world.trusts().enter(trust, world.member.project_id)


def test_sec_23_a_token_is_for_the_project_of_its_trust_alone(world: World) -> None:
    trusts = world.trusts()
    trust = trusts.make(world.member)
    with pytest.raises(Forbidden, match="another project"):
        trusts.enter(trust, "another-project")
    trusts.drop(trust)


def test_sec_23_who_acts_by_a_trust_makes_no_other(world: World) -> None:
    trusts = world.trusts()
    trust = trusts.make(world.member)
    token = trusts.enter(trust, world.member.project_id)["auth_token"]
    with pytest.raises(Forbidden, match="does not let"):
        trusts.make(replace(world.member, auth_token=token))
    trusts.drop(trust)
    assert world.standing() == 0


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"roles": ("admin",)}, id="a role that they have not"),
        pytest.param({"user_id": "somebody-else"}, id="another user"),
        pytest.param({"auth_token": "unknown"}, id="an unknown token"),
    ],
)
def test_sec_23_nobody_hands_over_what_is_not_theirs(
    world: World, change: dict[str, Any]
) -> None:
    with pytest.raises(Forbidden, match="does not let"):
        world.trusts().make(replace(world.member, **change))
    assert world.standing() == 0


def test_our_own_wrong_password_ends_no_trust(world: World) -> None:
    """Keystone's answer is that of a trust that is gone; it must not be taken so."""
    trust = world.trusts().make(world.member)
    stranger = world.trusts(world.options.replace(world.password, "canary-wrong"))
    with pytest.raises(Unavailable) as refused:
        stranger.drop(trust)
    assert "canary" not in str(refused.value)
    for ask in (stranger.enter, lambda *_: stranger.make(world.member)):
        with pytest.raises(Unavailable):
            ask(trust, world.member.project_id)
    assert world.standing() == 1
    world.trusts().drop(trust)


def test_keystone_away_is_told_apart_from_a_no(world: World, tmp_path: Path) -> None:
    options = "\n".join(
        "auth_url = http://127.0.0.1:9" if line.startswith("auth_url") else line
        for line in world.options.splitlines()
    )
    trusts = world.trusts(options)
    for ask in (
        lambda: trusts.make(world.member),
        lambda: trusts.enter("t", "p"),
        lambda: trusts.drop("t"),
    ):
        with pytest.raises(Unavailable):
            ask()
