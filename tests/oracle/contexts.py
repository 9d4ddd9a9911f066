"""Branch variables, and how they meet (LANG § 22.3, ENG § 2.10)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from oracle.unsure import UNSURE, fits

Path = tuple[str, ...]


@dataclass(frozen=True)
class Context:
    """Branch variables; how often each leaf was published along the branch.

    A version of None is unknown. ``fuzzy``: there may be further names.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[Path, int | None] = field(default_factory=dict)
    fuzzy: bool = False

    def publish(self, published: Mapping[str, Any]) -> Context:
        versions = dict(self.versions)
        for path in leaves(published):
            old = versions.get(path, None if self.fuzzy else 0)
            versions[path] = None if old is None else old + 1
        return Context({**self.values, **published}, versions, self.fuzzy)


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    else:
        yield path


def meet(contexts: Iterable[Context]) -> Context:
    """The merge at joins and at the end of a run."""
    several = list(contexts)
    if not several:
        return Context()
    found = several[0]
    for other in several[1:]:
        found = _meet(found, other)
    return found


def _meet(a: Context, b: Context) -> Context:
    fuzzy = a.fuzzy or b.fuzzy
    versions: dict[Path, int | None] = {}
    for path in {*a.versions, *b.versions}:
        one, other = a.versions.get(path, 0), b.versions.get(path, 0)
        versions[path] = None if one is None or other is None else max(one, other)
    values = {
        key: UNSURE if fuzzy else _leaf(a, b, a.values, b.values, key, ())
        for key in {*a.values, *b.values}
    }
    return Context(values, versions, fuzzy)


def _leaf(
    a: Context,
    b: Context,
    left: Mapping[str, Any],
    right: Mapping[str, Any],
    key: str,
    path: Path,
) -> Any:
    if key not in left or key not in right:
        return left[key] if key in left else right[key]
    one, other, path = left[key], right[key], (*path, key)
    if one is UNSURE or other is UNSURE:
        return UNSURE
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {k: _leaf(a, b, one, other, k, path) for k in {*one, *other}}
    if isinstance(one, Mapping) or isinstance(other, Mapping):
        return UNSURE  # versions are of leaves; no rule for a leaf and a mapping
    if fits(one, other):
        return one
    mine, theirs = a.versions.get(path, 0), b.versions.get(path, 0)
    if mine is None or theirs is None or mine == theirs:
        return UNSURE  # Q54: who completed later
    return one if mine > theirs else other
