"""What an operator may set about expressions (spec/engine.md § 11)."""

from __future__ import annotations

from dataclasses import dataclass

from mistral.expressions.recognition import LANGUAGES


@dataclass(frozen=True, slots=True)
class ExpressionSettings:
    """Options of ``[expressions]`` and ``[yaql]``, limits on by default (LINT-28).

    :param languages: allowed ones; others fail at upload and at evaluation.
    :param convert_output_data: lazy sequences in a result of YAQL become lists;
        otherwise they cannot be stored.
    :param convert_tuples_to_lists: needs the previous; seen in text forms.
    :param convert_sets_to_lists: sets become lists in the expression's result
        already (stored they are arrays in any case).
    :param limit_iterators: most items of any one iterator; -1: no limit of its
        own (steps and bytes still bound it).
    :param memory_quota: most bytes of any one value that a YAQL function takes
        or gives, as ``sys.getsizeof`` counts; -1: no limit of its own.
    :param iterable_dicts: YAQL may iterate mappings (their keys).
    :param keyword_operator: between name and value of YAQL arguments.
    :param allow_delegates: ``lambda(...)`` and ``$f(...)`` in YAQL.
    :param max_steps: calls, iterations and visited nodes of one expression. A step
        costs from under one to about ten microseconds.
    :param max_output_bytes: of any string, list or result, estimated; the results of
        all expressions of a tree may have four times as many together.
    :param max_depth: nesting of values.
    :param deadline_seconds: of one expression, if a clock is given.
    """

    languages: tuple[str, ...] = LANGUAGES
    convert_output_data: bool = True
    convert_tuples_to_lists: bool = True
    convert_sets_to_lists: bool = False
    limit_iterators: int = 100_000
    memory_quota: int = 32 * 1024 * 1024
    iterable_dicts: bool = False
    keyword_operator: str = "=>"
    allow_delegates: bool = False
    max_steps: int = 1_000_000
    max_output_bytes: int = 16 * 1024 * 1024
    max_depth: int = 200
    deadline_seconds: float = 2.0
