"""YAML of settings, read strictly: plain values only, no aliases, no key twice."""

from typing import Any

import yaml


class _StrictLoader(yaml.SafeLoader):
    """Aliases can grow a small file without bound, and of two equal keys one would be lost in silence."""

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"alias *{self.peek_event().anchor}: aliases are not supported")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := {name for name in names if names.count(name) > 1}:
            raise yaml.YAMLError(f"key {min(twice)!r} stands twice")
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """The value that a YAML text holds.

    Raises:
        ValueError: not strict YAML; the message is one line.
    """
    try:
        return yaml.load(text, _StrictLoader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"not valid YAML ({' '.join(str(error).split())})") from None
