"""Look-up of actions (spec/engine.md §§ 8.10, 12)."""

from __future__ import annotations

import configparser
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mistral_lib.actions import Action, ActionProvider, PythonActionDescriptor

from mistral import errors
from mistral.actions.builtin import BUILTIN
from mistral.actions.descriptors import REQUIRED, parse_parameters
from mistral.actions.registry import Registry
from mistral.config import (
    ActionProviderSettings,
    HttpSettings,
    LegacyActionSettings,
    Settings,
)

ROOT = Path(__file__).resolve().parent.parent.parent


class Greet(Action):
    """Greets."""

    made = 0

    def __init__(self, name: str, greeting: str = "Hello, dear", n: Any = None) -> None:
        type(self).made += 1
        self.text = f"{greeting} {name}"

    def run(self, context: Any) -> str:
        return self.text


class Later(Action):
    def __init__(self, **anything: Any) -> None:
        self.given = anything

    def run(self, context: Any) -> None:
        return None

    def is_sync(self) -> bool:
        return not self.given


class Old:
    def run(self, context: Any = None) -> str:
        return "old"


class Base(Action):
    colour = ""

    def __init__(self, x: int = 1) -> None:
        self.x = x

    def run(self, context: Any) -> Any:
        return [self.colour, self.x]


class Red:
    colour = "red"


class Generator:
    base_action_class = Base

    @classmethod
    def create_actions(cls) -> list[dict[str, Any]]:
        return [
            {
                "class": Red,
                "name": "paint.red",
                "description": "Paints.",
                "arg_list": "x=1",
            }
        ]


class Provider(ActionProvider):  # type: ignore[misc]
    def __init__(self, name: str, project_id: str | None = None) -> None:
        super().__init__(name)
        self.descriptor = PythonActionDescriptor(
            "mine.greet", Greet, namespace="ns", project_id=project_id
        )
        self.asked: list[tuple[str, str | None]] = []

    def find(self, action_name: str, namespace: str | None = None) -> Any:
        self.asked.append((action_name, namespace))
        return self.descriptor if action_name == "mine.greet" else None

    def find_all(self, namespace: str | None = None, **options: Any) -> Any:
        return [self.descriptor]


@dataclass
class Entry:
    name: str
    value: Any

    def load(self) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def entries(**groups: list[Entry]) -> Callable[[str], list[Entry]]:
    return lambda group: groups.get(group.replace(".", "_"), [])


PLUGINS = entries(
    mistral_actions=[
        Entry("x.greet", Greet),
        Entry("x.later", Later),
        Entry("x.old", Old),
        Entry("x.broken", ImportError("no such module")),
        Entry("std.echo", Greet),
    ],
    mistral_generators=[
        Entry("paint", lambda: [Generator]),
        Entry("none", lambda: None),
        Entry("bad", ValueError("bad")),
    ],
    mistral_action_providers=[Entry("far", Provider), Entry("legacy", ValueError("x"))],
)


@pytest.fixture
def registry() -> Registry:
    return Registry(Settings(), entry_points=PLUGINS)


def test_the_package_registers_what_is_built_in() -> None:
    setup = configparser.ConfigParser(delimiters=("=",))
    setup.optionxform = str  # type: ignore[assignment,method-assign]
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.entry_points"]["mistral.actions"].strip().splitlines()
    assert dict(tuple(line.split(" = ")) for line in lines) == BUILTIN


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_ours_declare_what_their_instances_say(name: str) -> None:
    registry = Registry(Settings(), entry_points=entries())
    descriptor = registry.find(name)
    assert descriptor is not None and descriptor.description
    required = {key: "x" for key, value in descriptor.inputs if value is REQUIRED}
    assert registry.create(name, required).is_sync() is descriptor.is_sync


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("std.noop", ""),
        ("std.echo", "output, delay=0"),
        ("std.test_dict", 'size=0, key_prefix="", val=""'),
        ("std.javascript", "script, context=null"),
        (
            "std.email",
            "from_addr, to_addrs, smtp_server, reply_to=[], cc_addrs=[], "
            'bcc_addrs=[], smtp_password=null, subject="<No subject>", '
            'body="<No body>", html_body=null',
        ),
        (
            "std.http",
            'url, method="GET", params=null, body=null, json=null, headers=null, '
            "cookies=null, auth=null, timeout=null, allow_redirects=null, "
            "proxies=null, verify=null",
        ),
    ],
)
def test_input_text(name: str, text: str) -> None:
    """The form that the API shows (rest-api § 8.5)."""
    found = Registry(Settings(), entry_points=entries()).find(name)
    assert found is not None and found.input_text == text


def test_looking_up_makes_no_instance(registry: Registry) -> None:
    Greet.made = 0
    found = registry.find("x.greet")
    assert found is not None
    assert found.inputs == (
        ("name", REQUIRED),
        ("greeting", "Hello, dear"),
        ("n", None),
    )
    assert found.description == "Greets."
    registry.check_input(found, {"name": "x"})
    assert Greet.made == 0
    assert registry.create("x.greet", {"name": "you"}).run(None) == "Hello, dear you"


def test_synchrony_is_declared_or_unknown(registry: Registry) -> None:
    for name, expected in (
        ("x.greet", True),
        ("x.old", True),
        ("x.later", None),
        ("std.async_noop", False),
    ):
        found = registry.find(name)
        assert found is not None and found.is_sync is expected, name


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "missing=['output']]"),
        ({"output": 1, "b": 2}, "unexpected=['b']]"),
        ({"b": 2}, "missing=['output'], unexpected=['b']]"),
    ],
)
def test_wrong_names(registry: Registry, given: dict[str, Any], text: str) -> None:
    """§ 8.10: the shape of the text, only the parts that apply."""
    found = registry.find("std.echo")
    assert found is not None
    with pytest.raises(errors.InvalidInput) as caught:
        registry.check_input(found, given)
    assert caught.value.message == (
        "Invalid input [name=std.echo, class=mistral.actions.basic.EchoAction, " + text
    )


def test_open_actions_take_any_name(registry: Registry) -> None:
    found = registry.find("x.later")
    assert found is not None and found.open
    assert registry.create("x.later", {"q": 1}).given == {"q": 1}


def test_no_package_takes_our_names(registry: Registry) -> None:
    found = registry.find("std.echo")
    assert found is not None and found.inline is not None
    assert found.class_name == "mistral.actions.basic.EchoAction"


def test_broken_plugins_do_not_exist(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert registry.find("x.broken") is None
        assert registry.find("x.broken") is None
        assert registry.find("x.nothing") is None
    assert [m for m in caplog.messages if "x.broken" in m] == [
        "Action x.broken cannot be loaded."
    ]
    with pytest.raises(errors.NotFound):
        registry.create("x.nothing", {})


def test_generated_actions(registry: Registry) -> None:
    found = registry.find("paint.red")
    assert found is not None
    assert (found.input_text, found.description) == ("x=1", "Paints.")
    action = registry.create("paint.red", {"x": 3})
    assert isinstance(action, Base)
    assert action.run(None) == ["red", 3]


def test_providers_are_asked_with_the_namespace() -> None:
    provider = Provider("given")
    registry = Registry(Settings(), [provider], entry_points=entries())
    found = registry.find("mine.greet", "ns")
    assert found is not None and found.name == "mine.greet"
    assert provider.asked == [("mine.greet", "ns")]
    assert registry.create("mine.greet", {"name": "x"}, "ns").run(None).endswith("x")


def test_private_actions_of_a_provider_stay_private() -> None:
    registry = Registry(Settings(), [Provider("p", "one")], entry_points=entries())
    assert registry.find("mine.greet") is None
    assert registry.find("mine.greet", project_id="two") is None
    assert registry.find("mine.greet", project_id="one") is not None
    assert "mine.greet" not in registry.names()


def test_names_are_sorted_and_complete(registry: Registry) -> None:
    names = registry.names()
    assert names == sorted(names)
    assert {*BUILTIN, "x.greet", "paint.red", "mine.greet"} <= set(names)
    assert "x.broken" not in names


@pytest.mark.parametrize(
    ("settings", "there", "gone"),
    [
        (
            Settings(legacy_actions=LegacyActionSettings(only_builtin_actions=True)),
            "std.noop",
            ["x.greet", "paint.red", "mine.greet"],
        ),
        (
            Settings(legacy_actions=LegacyActionSettings(load_action_plugins=False)),
            "paint.red",
            ["x.greet"],
        ),
        (
            Settings(legacy_actions=LegacyActionSettings(load_action_generators=False)),
            "x.greet",
            ["paint.red"],
        ),
        (
            Settings(
                legacy_actions=LegacyActionSettings(
                    allowlist=("std.*",), denylist=("std.echo",)
                )
            ),
            "std.echo",
            ["x.greet", "paint.red"],
        ),
        (
            Settings(legacy_actions=LegacyActionSettings(denylist=("std.h*",))),
            "std.echo",
            ["std.http"],
        ),
        (
            Settings(action_providers=ActionProviderSettings(allowlist=("far",))),
            "mine.greet",
            ["std.noop", "x.greet"],
        ),
        (
            Settings(action_providers=ActionProviderSettings(denylist=("f*",))),
            "std.noop",
            ["mine.greet"],
        ),
    ],
)
def test_filters(settings: Settings, there: str, gone: list[str]) -> None:
    """§ 11: allow and deny lists; an allow list wins."""
    registry = Registry(settings, entry_points=PLUGINS)
    assert registry.find(there) is not None and there in registry.names()
    for name in gone:
        assert registry.find(name) is None
        assert name not in registry.names()


def test_settings_reach_the_instance() -> None:
    http = HttpSettings(default_timeout=7)
    action = Registry(Settings(http=http)).create("std.http", {"url": "http://x"})
    assert action.settings is http


@pytest.mark.parametrize(
    ("text", "inputs", "is_open"),
    [
        ("", (), False),
        ("a", (("a", REQUIRED),), False),
        ("a, b=1", (("a", REQUIRED), ("b", 1)), False),
        ('a="x, y=2", b=[1, 2]', (("a", "x, y=2"), ("b", [1, 2])), False),
        ('a={"k": "v,"},b', (("a", {"k": "v,"}), ("b", REQUIRED)), False),
        ("a=word, b", (("a", "word"), ("b", REQUIRED)), False),
        ("a, **kw", (("a", REQUIRED),), True),
    ],
)
def test_parameter_lists(text: str, inputs: Any, is_open: bool) -> None:
    assert parse_parameters(text) == (inputs, is_open)
