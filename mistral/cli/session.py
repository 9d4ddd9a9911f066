"""What every command of ``mistralctl`` has: the service that it asks, the form of its
answers, and how a refusal is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import click

from mistral import errors
from mistral.cli.output import FORMATS, Output
from mistral.cli.rest import DEFAULT_URL, Service


class Session:
    """What every command needs: the service and where results go."""

    def __init__(self, url: str, style: str) -> None:
        self.service = Service(url)
        self.output = Output(style)

    def end(self, code: int) -> NoReturn:
        raise click.exceptions.Exit(code)


def command(name: str | None = None) -> Callable[[Callable[..., None]], click.Command]:
    """A command with ``--url`` and ``-o``; its function gets a :class:`Session`
    first. A refusal becomes one line on standard error and exit code 1."""

    def decorate(function: Callable[..., None]) -> click.Command:
        def run(url: str, style: str, **arguments: Any) -> None:
            try:
                function(Session(url, style), **arguments)
            except errors.MistralError as error:
                click.echo(f"mistralctl: {error.message}", err=True)
                raise click.exceptions.Exit(1) from error

        run.__doc__ = function.__doc__
        run.__name__ = function.__name__
        run.__click_params__ = list(  # type: ignore[attr-defined]
            getattr(function, "__click_params__", ())
        )
        for option in (_format_option, _url_option):
            option(run)
        return click.command(name or function.__name__)(run)

    return decorate


_url_option = click.option(
    "--url",
    envvar="MISTRAL_URL",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    help="Root of the API.",
)
_format_option = click.option(
    "-o",
    "--output",
    "style",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)
