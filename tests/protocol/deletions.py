"""A run is deleted while a sub-workflow of it starts, statement by statement.

The start holds nothing of the parent's (one lock, DESIGN § 3), so it may commit
between any two statements of the deletion, each of which sees what has committed by
then (READ COMMITTED). The news of the start is what the orphan is found by.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from protocol.checker import Step


class Place(NamedTuple):
    """What has committed, and how far each transaction is.

    :param child: ``asked``: an outbox row says that it shall start; ``there``;
        ``gone``.
    :param news: the outbox row that tells the parent of the start.
    :param order: the outbox row that tells the child to go.
    :param deleting: statement of the deletion that comes next; 3: it has committed.
    :param seen: the deletion has seen the child.
    :param emptied: it has removed the news.
    :param starting: the start has found the parent's task waiting.
    """

    parent: bool = True
    child: str = "asked"
    news: bool = False
    order: bool = False
    deleting: int = 0
    seen: bool = False
    emptied: bool = False
    starting: bool = False


class Deletions:
    """
    :param keeps_news: the deletion leaves the rows that tell of starts.
    """

    def __init__(self, *, keeps_news: bool = True) -> None:
        self._keeps_news = keeps_news

    def begin(self) -> Place:
        return Place()

    def wrong(self, state: Place) -> str | None:
        return None

    def over(self, state: Place) -> bool:
        left = state.parent or state.news or state.order
        return not left and state.child == "gone" and state.deleting == 3

    def steps(self, state: Place) -> Iterator[Step[Place]]:
        yield from self._deletion(state)
        yield from self._start(state)
        if state.news and state.parent and state.deleting == 0:
            yield Step("the parent hears the news", state._replace(news=False))
        if state.news and not state.parent:
            told = state._replace(news=False, order=True)
            yield Step("nobody hears the news: the child shall go", told)
        if state.order:
            gone = "gone" if state.child == "there" else state.child
            yield Step("the child goes", state._replace(order=False, child=gone))

    def _deletion(self, state: Place) -> Iterator[Step[Place]]:
        """It holds the parent's header from its first statement on."""
        there = state.child == "there"
        if state.deleting == 0:
            after = state._replace(deleting=1, seen=there)
            yield Step("the deletion looks for children", after)
        elif state.deleting == 1:
            emptied = state.news and not self._keeps_news
            after = state._replace(deleting=2, emptied=emptied)
            yield Step("the deletion removes rows of the outbox", after)
        elif state.deleting == 2:
            after = state._replace(
                deleting=3,
                parent=False,
                child="gone" if state.seen and there else state.child,
                news=state.news and not state.emptied,
            )
            yield Step("the deletion commits", after)

    def _start(self, state: Place) -> Iterator[Step[Place]]:
        if state.child != "asked":
            return
        if not state.starting:
            if state.parent:
                yield Step("the start finds its task", state._replace(starting=True))
            else:
                yield Step("the start is given up", state._replace(child="gone"))
        else:
            after = state._replace(child="there", news=True, starting=False)
            yield Step("the start commits", after)
