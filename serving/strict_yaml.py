"""YAML as operators write it for us: plain values, and no key twice."""

from __future__ import annotations

from typing import Any

import yaml


class TwiceError(yaml.MarkedYAMLError):
    """A key is given twice: a mistake, not a choice of the last."""

    def __init__(self, key: str, mark: Any) -> None:
        super().__init__(problem=f"'{key}' is given twice", problem_mark=mark)
        self.key = key
        self.line: int = mark.line + 1


class Loader(yaml.SafeLoader):
    """``load`` is the usual way; whoever needs lines takes the nodes of this."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise TwiceError(key.value, key.start_mark)
                seen.add(key.value)
        return node


class PlainLoader(Loader):
    """Without aliases, which can make a small file a huge value."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # untyped in the stubs
            mark = event.start_mark
            raise yaml.MarkedYAMLError(problem="aliases are not supported", problem_mark=mark)
        return super().compose_node(parent, index)


def load(text: str) -> Any:
    """Raises YAMLError, TwiceError among them, RecursionError, ValueError."""
    return yaml.load(text, Loader)
