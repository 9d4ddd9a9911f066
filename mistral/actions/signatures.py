"""What the classes of a code source take, read from the text alone.

Engines and API know a dynamic action by this. The text is parsed when it is
uploaded and never run (SEC-01), so what only a run could tell stays open: then
any name is taken, and the executor finds out.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from mistral.actions.descriptors import REQUIRED, Descriptor

_ACTION: Final = frozenset(
    {
        "object",
        "mistral_lib.actions.Action",
        "mistral_lib.actions.base.Action",
        "mistral_lib.actions.api.Action",
    }
)
"""Roots whose constructors take nothing and that are synchronous."""

_MAKERS: Final = frozenset({"exec", "globals", "locals", "setattr", "vars"})
"""A text that uses these at its top level may define any name."""

_DEEPEST: Final = 20
"""Classes above a class that are looked at; also ends a circle of names."""

Classes = Mapping[str, Any]
"""Class name → ``{"inputs", "open", "is_sync", "description"}``, JSON values;
``inputs`` are ``[name]`` or ``[name, default]``. ``""`` → why the text could not
be read; ``"*"`` → true where names may come from anywhere."""


def read_classes(text: str) -> dict[str, Any]:
    """The classes of a source. Never raises: a text that cannot be read can be
    stored, and its actions are shown with the reason (Q-45)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
        return _Module(tree).classes()
    except SyntaxError as error:
        return {"": f"line {error.lineno}: {error.msg}"}
    except (ValueError, RecursionError, MemoryError) as error:
        return {"": f"it cannot be parsed ({type(error).__name__})"}


def describe_dynamic(row: Mapping[str, Any]) -> Descriptor:
    """What engine and API know of a dynamic action.

    :param row: ``name``, ``class_name``, ``code_source_id``,
        ``code_source_name``, ``version``, ``checksum``, ``classes``.
    """
    classes, class_name = row["classes"], row["class_name"]
    found = classes.get(class_name) if class_name not in ("", "*") else None
    fault = None
    if found is None:
        found = {"inputs": [], "open": True, "is_sync": None, "description": ""}
        fault = _fault(classes, class_name, row["code_source_name"])
    inputs = tuple(
        (name, default[0] if default else REQUIRED)
        for name, *default in found["inputs"]
    )
    return Descriptor(
        name=row["name"],
        description=found["description"] if fault is None else f"Broken: {fault}",
        inputs=inputs,
        open=found["open"],
        is_sync=found["is_sync"],
        input_text=", ".join(
            name if default is REQUIRED else f"{name}={json.dumps(default)}"
            for name, default in inputs
        ),
        class_name=class_name,
        code={
            "id": row["code_source_id"],
            "version": row["version"],
            "checksum": row["checksum"],
            "class_name": class_name,
        },
    )


def _fault(classes: Classes, class_name: str, source: str) -> str | None:
    if "" in classes:
        return f"the code source '{source}' is no Python: {classes['']}."
    if "*" in classes:
        return None
    return f"the code source '{source}' has no class '{class_name}'."


class _Module:
    """The top level of a text: its classes, and where other names come from."""

    def __init__(self, tree: ast.Module) -> None:
        self._defined: dict[str, ast.ClassDef] = {}
        self._imported: dict[str, str] = {}
        self._anything = False
        for node in _statements(tree.body):
            self._note(node)

    def _note(self, node: ast.stmt) -> None:
        match node:
            case ast.ClassDef():
                self._defined[node.name] = node
            case ast.Import():
                for name in node.names:
                    whole = name.name if name.asname else name.name.split(".")[0]
                    self._imported[name.asname or whole] = whole
            case ast.ImportFrom():
                for name in node.names:
                    self._anything |= name.name == "*"
                    path = f"{'.' * node.level}{node.module or ''}.{name.name}"
                    self._imported[name.asname or name.name] = path
            case ast.Assign() | ast.AnnAssign():
                # ``Doubler = make(2)``
                self._imported.update(dict.fromkeys(_bound(node), ""))
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            parts = (part for part in ast.walk(node) if isinstance(part, ast.Name))
            self._anything |= any(part.id in _MAKERS for part in parts)

    def classes(self) -> dict[str, Any]:
        found = {name: self._class(node) for name, node in self._defined.items()}
        for name in self._imported:
            found.setdefault(name, _unknown(""))
        if self._anything:
            found["*"] = True
        return found

    def _class(self, node: ast.ClassDef) -> dict[str, Any]:
        description = ast.get_docstring(node) or ""
        if node.decorator_list or node.keywords:
            return _unknown(description)
        constructor = self._method(node, "__init__", _DEEPEST)
        answer: dict[str, Any] = {
            **_parameters(constructor),
            "is_sync": _constant(self._method(node, "is_sync", _DEEPEST)),
            "description": description,
        }
        return answer

    def _method(self, node: ast.ClassDef, name: str, deepest: int) -> Any:
        """The function that a class has under this name: its node; None: that
        of a root; False: nobody knows."""
        for part in reversed(list(_statements(node.body))):
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                if part.name == name:
                    return False if part.decorator_list else part
            elif name in _bound(part):
                return False
        if deepest == 0 or len(node.bases) > 1:
            return False
        if not node.bases:
            return None
        base = node.bases[0]
        if isinstance(base, ast.Name) and base.id in self._defined:
            above = self._defined[base.id]
            odd = above.decorator_list or above.keywords
            return False if odd else self._method(above, name, deepest - 1)
        return None if self._path(base) in _ACTION else False

    def _path(self, node: ast.expr) -> str:
        """The dotted name that an expression stands for, or ''."""
        if isinstance(node, ast.Attribute):
            before = self._path(node.value)
            return f"{before}.{node.attr}" if before else ""
        if isinstance(node, ast.Name):
            return self._imported.get(node.id, node.id)
        return ""


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """With those below conditions, which may hold."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from _statements(node.body)
            yield from _statements(getattr(node, "orelse", ()))
            yield from _statements(getattr(node, "finalbody", ()))
            for handler in getattr(node, "handlers", ()):
                yield from _statements(handler.body)


def _bound(node: ast.stmt) -> set[str]:
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _unknown(description: str) -> dict[str, Any]:
    return {"inputs": [], "open": True, "is_sync": None, "description": description}


def _parameters(function: Any) -> dict[str, Any]:
    """``inputs`` and ``open`` of a constructor."""
    if function is None:
        return {"inputs": [], "open": False}
    if function is False:
        return {"inputs": [], "open": True}
    said = function.args
    named = [*said.posonlyargs, *said.args]
    defaults = [*[None] * (len(named) - len(said.defaults)), *said.defaults]
    pairs = list(zip(named, defaults, strict=True))[1:]
    pairs += zip(said.kwonlyargs, said.kw_defaults, strict=True)
    inputs = [
        [name.arg] if default is None else [name.arg, _value(default)]
        for name, default in pairs
    ]
    return {"inputs": inputs, "open": said.kwarg is not None}


def _value(node: ast.expr) -> Any:
    """A default as JSON; null where it is no constant: it is only shown, and
    what is left out is left to the class."""
    try:
        value = ast.literal_eval(node)
        return json.loads(json.dumps(value, allow_nan=False))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _constant(function: Any) -> bool | None:
    """What ``is_sync`` returns, if it says a constant."""
    if function is None:
        return True
    if function is False:
        return None
    body = function.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    if len(body) == 1 and isinstance(body[0], ast.Return):
        value = body[0].value
        if isinstance(value, ast.Constant) and isinstance(value.value, bool):
            return value.value
    return None
