"""From a template's tree to one that counts, compares and concatenates on the
budget.

The sandbox intercepts arithmetic and calls. Loops, comparisons, ``~`` and the
keys of mappings it does not; here they become filters with names that nobody
can write.
"""

from __future__ import annotations

from typing import Any, Final

from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer

from mistral.expressions.faults import Refused
from mistral.expressions.jinja_methods import MUTATORS

_OTHER_TEMPLATES: Final = (
    nodes.Extends,
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
)

RESULT: Final = "result"


class _Counting(NodeTransformer):
    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def _filter(
        self, node: nodes.Expr, name: str, args: list[nodes.Expr] | None = None
    ) -> nodes.Filter:
        return nodes.Filter(
            node,
            name,
            args or [],
            [],
            None,
            None,
            lineno=node.lineno,
            environment=self._environment,
        )

    def _made(self, kind: type[Any], like: nodes.Node, *fields: Any) -> Any:
        return kind(*fields, lineno=like.lineno, environment=self._environment)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = self._filter(node.iter, "#loop")  # type: ignore[arg-type]
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        if len(node.ops) == 1:
            operand = node.ops[0]
            if operand.op not in {"in", "notin"} and (
                isinstance(node.expr, nodes.Const)
                or isinstance(operand.expr, nodes.Const)
            ):
                return node
            name = self._made(nodes.Const, node, operand.op)
            return self._filter(node.expr, "#compare", [name, operand.expr])
        node.expr = self._filter(node.expr, "#weigh")
        for operand in node.ops:
            operand.expr = self._filter(operand.expr, "#weigh")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        parts = self._made(nodes.Tuple, node, node.nodes, "load")
        return self._filter(parts, "#concat")

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = [
            bound or self._made(nodes.Const, node, None)
            for bound in (node.arg.start, node.arg.stop, node.arg.step)
        ]
        return self._filter(node.node, "#slice", bounds)

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:
        self.generic_visit(node)
        if not isinstance(node.key, nodes.Const):
            node.key = self._filter(node.key, "#key")
        return node

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        if isinstance(node, _OTHER_TEMPLATES):
            raise Refused("a template here cannot include or import others")
        found: nodes.Node = super().generic_visit(node, *args, **kwargs)
        return found


def counting(tree: nodes.Template, environment: Environment) -> nodes.Template:
    """The same template on the budget.

    :raises Refused: it wants other templates, of which there are none.
    """
    found: nodes.Template = _Counting(environment).visit(tree)
    return found


def as_assignment(tree: nodes.Template) -> nodes.Template:
    """A template of one expression, made to keep its value in ``RESULT``."""
    output = tree.body[0]
    assert isinstance(output, nodes.Output)
    assignment = nodes.Assign(
        nodes.Name(RESULT, "store", lineno=1), output.nodes[0], lineno=1
    )
    return nodes.Template([assignment], lineno=1)


def mutates(tree: nodes.Template) -> bool:
    """Whether a method that changes its owner is named anywhere.

    A template that spells no such name cannot call one: then the data needs
    no copy, and calling one under a computed name is refused.
    """
    if any(node.attr in MUTATORS for node in tree.find_all(nodes.Getattr)):
        return True
    return any(
        isinstance(node.value, str) and node.value in MUTATORS
        for node in tree.find_all(nodes.Const)
    )


def keys_read(tree: nodes.Template) -> frozenset[str] | None:
    """The top-level variables that a template reads by name; None if it may
    read any."""
    names = [node for node in tree.find_all(nodes.Name) if node.name == "_"]
    keys = {
        node.attr
        for node in tree.find_all(nodes.Getattr)
        if isinstance(node.node, nodes.Name) and node.node.name == "_"
    }
    by_item = [
        node.arg.value
        for node in tree.find_all(nodes.Getitem)
        if isinstance(node.node, nodes.Name)
        and node.node.name == "_"
        and isinstance(node.arg, nodes.Const)
        and isinstance(node.arg.value, str)
    ]
    by_name = sum(
        isinstance(node.node, nodes.Name) and node.node.name == "_"
        for node in tree.find_all(nodes.Getattr)
    )
    if len(names) != by_name + len(by_item) or keys & _METHODS:
        return None
    return frozenset(keys | set(by_item))


_METHODS: Final = frozenset(name for name in dir(dict) if not name.startswith("_"))
