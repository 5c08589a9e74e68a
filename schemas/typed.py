# SPDX-License-Identifier: Apache-2.0
"""Plain YAML or TOML values into frozen dataclasses: every key known, every type exact, every error with its place."""

from __future__ import annotations

import types
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, NewType, Union, get_args, get_origin, get_type_hints

import yaml

from schemas.errors import UsageError

Token = NewType("Token", str)  # a short name that YAML may have read as a whole number, such as item 9 or 16a


class _UniqueKeys(yaml.CSafeLoader):
    """PyYAML keeps the last of two equal keys without a word; a subscale written twice would lose one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is written twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML; `UsageError` names the file and line of malformed text or of a key written twice."""
    try:
        return yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise UsageError(f"{where}{line}: {getattr(error, 'problem', None) or error}") from error


def read_typed(kind: Any, node: Any, where: str) -> Any:
    """Return `node` as a value of `kind`: a dataclass, str, int, float, bool, Literal, Token, tuple, Mapping or optional.

    Nothing is coerced but a whole number to float or Token. Lists become tuples. Raises `UsageError` with the path of
    the value, what was expected and what was found; for a dataclass also for an unknown or a missing key.
    """
    if is_dataclass(kind):
        return _read_dataclass(kind, node, where)
    if get_origin(kind) in (Union, types.UnionType):
        return _read_union([a for a in get_args(kind) if a is not type(None)], node, where)
    if get_origin(kind) is Literal:
        _expect(node in get_args(kind), where, f"one of {', '.join(map(str, get_args(kind)))}", node)
        return node
    if get_origin(kind) is tuple:
        _expect(isinstance(node, list | tuple), where, "a list", node)
        return tuple(read_typed(get_args(kind)[0], n, f"{where}[{i}]") for i, n in enumerate(node))
    if get_origin(kind) is Mapping:
        _expect(isinstance(node, Mapping), where, "a table", node)
        key, value = get_args(kind)
        return {read_typed(key, k, f"{where}, key {k}"): read_typed(value, v, f"{where}.{k}") for k, v in node.items()}
    return _read_scalar(kind, node, where)


def _read_union(kinds: list[Any], node: Any, where: str) -> Any:
    """One kind or nothing; or one value or a list of values, told apart by the brackets."""
    if node is None:
        return None
    lists = [k for k in kinds if get_origin(k) is tuple]
    wanted = lists if lists and isinstance(node, list | tuple) else [k for k in kinds if k not in lists]
    return read_typed((wanted or kinds)[0], node, where)


def _expect(good: bool, where: str, expected: str, node: Any) -> None:
    if not good:
        raise UsageError(f"{where}: expected {expected}, found {type(node).__name__} {node!r:.60}")


def _read_scalar(kind: Any, node: Any, where: str) -> Any:
    number = isinstance(node, int) and not isinstance(node, bool)
    if kind is Token:
        _expect(number or isinstance(node, str), where, "a name or number", node)
        return str(node)
    if kind is float:
        _expect(number or isinstance(node, float), where, "a number", node)
        return float(node)
    expected = {int: "a whole number", str: "text"}.get(kind, "yes or no")
    _expect(number if kind is int else isinstance(node, kind), where, expected, node)
    return node


def _read_dataclass(kind: Any, node: Any, where: str) -> Any:
    _expect(isinstance(node, Mapping), where, "a table", node)
    known: dict[str, Field[Any]] = {f.name: f for f in fields(kind) if f.init}
    for key in node:
        if key not in known:
            raise UsageError(f"{where}.{key}: not a key it knows; there are: {', '.join(known)}")
    for name, one in known.items():
        if name not in node and one.default is MISSING and one.default_factory is MISSING:
            raise UsageError(f"{where}: {name} is missing")
    hints = get_type_hints(kind)
    return kind(**{k: read_typed(hints[k], v, f"{where}.{k}") for k, v in node.items()})
