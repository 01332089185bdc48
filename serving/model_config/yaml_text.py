"""YAML with line numbers: plain values only, no anchors, no repeated keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from serving.errors import ConfigError
from serving.model_config.words import suggestion
from serving.model_config.yaml_keys import ELSEWHERE, NOT_YET
from serving.strict_yaml import PlainLoader, TwiceError

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """The parsed value, and the line on which each of its parts begins."""

    value: dict[str, Any]
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """That of the nearest enclosing part which has one; 1 for the document."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str, file: str) -> Document:
    """Raises ConfigError naming ``file`` and the line."""
    loader: Any = None
    try:
        loader = PlainLoader(text)
        root = loader.get_single_node()
        lines: dict[Path, int] = {}
        value = {} if root is None else _construct(loader, root, (), lines, file)
    except RecursionError:
        raise ConfigError(f"{file}: nested too deeply") from None
    except TwiceError as error:
        raise ConfigError(f"{file} line {error.line}: key {error.key!r} is given twice") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{where}: {error.problem or 'not valid YAML'}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{file}: not valid YAML ({type(error).__name__})") from None
    finally:
        if loader is not None:
            loader.dispose()
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ConfigError(f"{file}: keys and values are expected at the top")
    return Document(value, lines)


def _construct(loader: Any, node: Any, path: Path, lines: dict[Path, int], file: str) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [
            _construct(loader, item, (*path, i), lines, file) for i, item in enumerate(node.value)
        ]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node, deep=True)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
        if key is None:
            raise ConfigError(f"{file} line {line}: a key is one word")
        lines[(*path, key)] = line
        result[key] = _construct(loader, value_node, (*path, key), lines, file)
    return result


def explain(error: ValidationError, document: Document, file: str, root: type[BaseModel]) -> str:
    """All that pydantic found, one sentence each, with line and nearest key."""
    return "; ".join(dict.fromkeys(_sentences(error, document, file, root)))


def _sentences(
    error: ValidationError, document: Document, file: str, root: type[BaseModel]
) -> Iterator[str]:
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        path = tuple(found["loc"])
        where = f"{file} line {document.line(path)}"
        name = ".".join(str(part) for part in path)
        if found["type"] == "extra_forbidden":
            yield f"{where}: {_unknown(path, name, root)}"
        elif found["type"] == "missing":
            yield f"{where}: {name} is missing"
        else:
            message = found["msg"].removeprefix("Value error, ")
            yield f"{where}: {name}: {message[:1].lower()}{message[1:]}"


def _unknown(path: Path, name: str, root: type[BaseModel]) -> str:
    key = str(path[-1])
    if key in NOT_YET:
        return f"{name} is not supported yet"
    if len(path) == 1 and key in ELSEWHERE:
        return f"unknown key {name!r}: it is {ELSEWHERE[key]}"
    section = _section(root, path[:-1])
    return f"unknown key {name!r}{suggestion(key, section.model_fields if section else ())}"


def _section(root: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The section that a path leads to: list indices and names of entries fall through."""
    section = root
    for part in path:
        field = section.model_fields.get(str(part))
        if field is not None:
            section = next(_sections(field.annotation), section)
    return section


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)
