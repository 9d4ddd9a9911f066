"""Exchanges of the message broker: the service's own, and those that may be others'."""

from __future__ import annotations

from typing import Final

from mistral.errors import BadRequest

EXCHANGE: Final = "mistral"
"""Where the service's messages go, and no others."""


def check_exchange(exchange: str) -> None:
    """Whether notifications of others may come from there.

    :raises BadRequest: the service's own messages go there, or it belongs to the
        broker itself.
    """
    if exchange == EXCHANGE:
        raise BadRequest(
            f"The exchange '{EXCHANGE}' carries the service's own messages; expected"
            " the exchange of another service."
        )
    if exchange.startswith("amq."):
        raise BadRequest(
            "Exchanges that begin with 'amq.' belong to the broker; expected the"
            " exchange of a service."
        )


def check_source(exchange: str, topic: str) -> None:
    """The same of an exchange and a topic of it.

    :raises BadRequest: not from this exchange, or a name is missing.
    """
    check_exchange(exchange)
    if not exchange or not topic:
        raise BadRequest("Expected the names of an exchange and of a topic.")
