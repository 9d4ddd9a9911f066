"""The sentences of expression errors: text, position, cause, never values.

What the languages' libraries put into their exceptions often holds pieces of
the data (SEC-08, Q56); no library message is passed on unless it is known to
speak of the expression's text only.
"""

from __future__ import annotations

from typing import Any, Final

from mistral.errors import ExpressionFault, WorkflowFault

SHOWN_CHARACTERS: Final = 300
"""A longer expression is cut in messages; its position still counts from its
real beginning."""


class Refused(Exception):
    """Why an evaluation stops, as a sentence without values of the data.

    Raised deep inside an evaluation; the language's face makes an
    ExpressionFault of it that quotes the expression.

    :param message: the sentence; ``{name}`` in it stands for ``name``.
    :param name: a name that may have been computed from data. It is told only
        if the author wrote it.
    """

    def __init__(self, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.name = name

    def __str__(self) -> str:
        return self.within("")

    def within(self, text: str) -> str:
        """The sentence about an expression of this text."""
        if self.name is None:
            return self.message
        told = f"'{self.name}'" if self.name and self.name in text else "of that name"
        return self.message.replace("{name}", told)


_TITLES: Final = {"yaql": "YAQL", "jinja": "Jinja"}


def shown(text: str) -> str:
    """The expression as messages quote it."""
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[:SHOWN_CHARACTERS]}… ({len(text)} characters)"


def syntax_fault(
    language: str, text: str, cause: str, position: int | None
) -> ExpressionFault:
    """``position`` counts characters of ``text`` from 0."""
    return ExpressionFault(
        f"Cannot parse the {_TITLES[language]} expression {_where(text, position)}"
        f": {cause}",
        text=text,
        offset=position,
    )


def evaluation_fault(
    language: str, text: str, cause: str, position: int | None = None
) -> ExpressionFault:
    return ExpressionFault(
        f"Cannot evaluate the {_TITLES[language]} expression {_where(text, position)}"
        f": {cause}"
    )


def wrong_value(sentence: str, tree: Any, path: str) -> WorkflowFault:
    """An expression gave a value of a kind that its place cannot take.

    :param sentence: what was expected, and the kind that was found.
    :param tree: what was evaluated; only a text is an expression.
    :param path: of the tree in the task.
    """
    if not isinstance(tree, str):
        return WorkflowFault(sentence)
    return WorkflowFault(f"{sentence} from '{shown(tree)}'", text=tree, path=path)


def _where(text: str, position: int | None) -> str:
    """The expression without the blanks around it, and where in that."""
    quoted = f"'{shown(text.strip())}'"
    if position is None:
        return quoted
    leading = len(text) - len(text.lstrip())
    return f"{quoted}, position {max(0, position - leading)}"
