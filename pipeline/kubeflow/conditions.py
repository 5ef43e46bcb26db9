"""Trigger conditions of tasks: the part of CEL that TFX's and KFP's compilers write.

Comparisons, `&&`, `||`, `!`, `+` and paths such as `inputs.artifacts['x'].artifacts[0].metadata['blessed']`.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Mapping
from typing import Any

from schemas.errors import InputError

_TOKENS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|&&|\|\||!=|!|[^'\"&|!]+|[&|]")
_WORDS = {"&&": " and ", "||": " or ", "!": " not "}
_COMPARE = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_CONSTANTS = {"true": True, "false": False, "null": None}
_JSON_NAMES = {"parameter_values": "parameterValues"}


def parse(condition: str) -> ast.expr:
    """The condition as an expression.

    Raises:
        InputError: it is none, or uses more of CEL than is understood here.
    """
    text = "".join(_WORDS.get(each, each) for each in _TOKENS.findall(condition)).strip()
    try:
        expression = ast.parse(text, mode="eval").body
    except SyntaxError:
        raise InputError(f"trigger condition {condition!r} is no expression") from None
    known = (ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.Compare, ast.BinOp, ast.Add, ast.Constant)
    known += (ast.Subscript, ast.Attribute, ast.Name, ast.Load, *_COMPARE)
    for node in ast.walk(expression):
        named = not isinstance(node, ast.Name) or node.id == "inputs" or node.id in _CONSTANTS
        if not isinstance(node, known) or not named:
            raise InputError(
                f"trigger condition {condition!r}: {ast.unparse(node)} is outside of what KFP evaluates"
            )
    return expression


def holds(condition: str, inputs: Mapping[str, Any]) -> bool:
    """Whether a task's condition is true of the `inputs` of its ExecutorInput.

    Raises:
        InputError: the condition cannot be evaluated.
    """
    return bool(_value(parse(condition), inputs, condition))


def _value(node: ast.expr, inputs: Mapping[str, Any], condition: str) -> Any:
    def of(each: ast.expr) -> Any:
        return _value(each, inputs, condition)

    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return inputs if node.id == "inputs" else _CONSTANTS[node.id]
    if isinstance(node, ast.BoolOp):
        values = (bool(of(each)) for each in node.values)
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if isinstance(node, ast.UnaryOp):
        return not of(node.operand)
    if isinstance(node, ast.BinOp):
        return of(node.left) + of(node.right)
    if isinstance(node, ast.Compare):
        left, right = of(node.left), of(node.comparators[0])
        return _COMPARE[type(node.ops[0])](left, right)
    key = _JSON_NAMES.get(node.attr, node.attr) if isinstance(node, ast.Attribute) else of(node.slice)
    try:
        return of(node.value)[key]
    except (KeyError, IndexError, TypeError):
        raise InputError(f"trigger condition {condition!r}: there is no {ast.unparse(node)}") from None
