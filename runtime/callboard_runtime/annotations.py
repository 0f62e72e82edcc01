"""The annotation of an API's parameters as JSON Schema (2020-12), with the standard library alone.

What is read: TypedDicts, dataclasses, `dict`, `list` and their like, unions, `Literal`, enumerations, and what JSON has
as text (`datetime`, `UUID` and their like). A model of pydantic, of whatever version the project has, is asked for its
own schema. User code gets plain JSON all the same: an annotation describes the parameters, and converts nothing.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import datetime as dt
import enum
import functools
import inspect
import json
import re
import sys
import types
import typing
import uuid
from collections.abc import Callable, Sequence
from typing import Any, cast

from intuned_runtime.deferred import MARK

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEFINITION = "#/$defs/{name}"

_SCALARS: dict[Any, dict[str, Any]] = {
    Any: {},
    object: {},
    None: {"type": "null"},
    types.NoneType: {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    dt.datetime: {"type": "string", "format": "date-time"},
    dt.date: {"type": "string", "format": "date"},
    dt.time: {"type": "string", "format": "time"},
    dt.timedelta: {"type": "string", "format": "duration"},
    uuid.UUID: {"type": "string", "format": "uuid"},
}
_ARRAYS = (list, collections.abc.Sequence, collections.abc.Collection, collections.abc.Iterable)
_SETS = (set, frozenset, collections.abc.Set)
_OBJECTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_QUALIFIERS = [
    getattr(typing, name) for name in ("Required", "NotRequired", "ReadOnly", "Final") if hasattr(typing, name)
]
"""What says something of a field, and nothing of its value."""


class UnreadableError(Exception):
    """An annotation from which no schema can be made. The message says where and why, without a dot at its end."""


def parameters_schema(function: Callable[..., Any]) -> dict[str, Any] | None:
    """Return the schema of what an API's function is given as parameters; None if its annotation says nothing.

    That is so without one, and with `dict` or `Any`.

    Raises:
        UnreadableError: There is an annotation, and no schema can be made from it.
    """
    signature = _signature(function)
    positional = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    place = 0 if getattr(function, MARK, False) else 1  # the page comes first where there is one
    if len(positional) <= place or positional[place].annotation is inspect.Parameter.empty:
        return None
    parameter = positional[place]
    annotation = _evaluated(function, parameter.name, parameter.annotation)
    return _Reader().read_parameters(annotation, parameter.name)


def result_schema(function: Callable[..., Any]) -> dict[str, Any] | None:
    """Return the schema of what an API's function returns; None if its annotation says nothing.

    Raises:
        UnreadableError: There is an annotation, and no schema can be made from it.
    """
    said = _signature(function).return_annotation
    if said is inspect.Signature.empty:
        return None
    return _Reader().read_result(_evaluated(function, "return", said), "return")


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    # From Python 3.14 on, annotations are evaluated only now, and may have names for type checkers alone.
    lazily: dict[str, Any] = {}
    if sys.version_info >= (3, 14):
        import annotationlib

        lazily["annotation_format"] = annotationlib.Format.FORWARDREF
    return inspect.signature(function, **lazily)


def _evaluated(function: Callable[..., Any], name: str, annotation: Any) -> Any:
    """Return the annotation of a parameter, or of the result, with its names looked up where the function stands."""
    inner = inspect.unwrap(function)
    while isinstance(inner, functools.partial):
        inner = inner.func

    def holder() -> None: ...

    holder.__annotations__ = {name: annotation}
    return _hints(holder, name, getattr(inner, "__globals__", {}))[name]


class _Reader:
    """Reads one annotation. What has a name of its own becomes a definition, so that it may contain itself."""

    def __init__(self) -> None:
        self._definitions: dict[str, dict[str, Any]] = {}
        self._names: dict[Any, str] = {}

    def read_parameters(self, annotation: Any, where: str) -> dict[str, Any] | None:
        """Return the schema of the whole: that of an object, or None if nothing is said of it."""
        while typing.get_origin(annotation) in (typing.Union, types.UnionType):
            left = tuple(each for each in typing.get_args(annotation) if each is not types.NoneType)
            if left == typing.get_args(annotation):
                break
            annotation = functools.reduce(lambda one, other: one | other, left)  # the default, None, is never sent
        schema = self.read(annotation, where)
        if schema in ({}, {"type": "object"}):
            return None
        whole = self._whole(schema)
        if whole.get("type", "object") != "object":
            raise UnreadableError(f"{where}: parameters are an object, and the annotation says {whole['type']}")
        return whole

    def read_result(self, annotation: Any, where: str) -> dict[str, Any] | None:
        """Return the schema of the whole, or None if nothing is said of it."""
        schema = self.read(annotation, where)
        return self._whole(schema) if schema else None

    def _whole(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return a schema with the definitions that it needs. A reference becomes what it leads to."""
        if (name := _defined_name(schema)) is not None:
            del schema["$ref"]
            schema = {**self._definitions[name], **schema}
        whole = {"$schema": _DIALECT, **schema}
        if needed := self._needed(schema):
            whole["$defs"] = needed
        return whole

    def read(self, annotation: Any, where: str) -> dict[str, Any]:
        """Return the schema of a value with this annotation; `where` is its path for people."""
        with contextlib.suppress(TypeError):  # what is said in an `Annotated` need not be hashable
            if annotation in _SCALARS:
                return dict(_SCALARS[annotation])
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        kind = annotation if origin is None else origin
        if kind is typing.Annotated:
            described = self.read(arguments[0], where)
            text = next(filter(None, map(_description, arguments[1:])), None)
            return described if text is None else {**described, "description": text}
        if kind in _QUALIFIERS:
            return self.read(arguments[0], where)
        if kind in (typing.Union, types.UnionType):
            return {"anyOf": [self.read(each, where) for each in arguments]}
        if kind is typing.Literal:
            return _one_of([each.value if isinstance(each, enum.Enum) else each for each in arguments], where)
        if kind in _ARRAYS:
            return {"type": "array", **self._items(arguments, where)}
        if kind in _SETS:
            return {"type": "array", "uniqueItems": True, **self._items(arguments, where)}
        if kind is tuple:
            return self._read_tuple(arguments, where)
        if kind in _OBJECTS:
            return self._read_mapping(arguments, where)
        if (supertype := getattr(annotation, "__supertype__", None)) is not None:  # a NewType
            return self.read(supertype, where)
        if origin is not None:
            raise UnreadableError(f"{where}: a generic {_name_of(kind)} is not supported")
        if isinstance(annotation, typing.TypeAliasType):
            return self._define(annotation, where, lambda: self.read(annotation.__value__, annotation.__name__))
        if isinstance(annotation, type):
            return self._read_class(annotation, where)
        raise UnreadableError(f"{where}: {_name_of(annotation)} is not supported")

    def _read_class(self, kind: type[Any], where: str) -> dict[str, Any]:
        if issubclass(kind, enum.Enum):
            return self._define(kind, where, lambda: _one_of([each.value for each in kind], where))
        if callable(getattr(kind, "model_json_schema", None)):
            return self._define(kind, where, lambda: self._ask(kind, kind.model_json_schema, where))
        if hasattr(kind, "__fields__") and callable(getattr(kind, "schema", None)):  # pydantic before its version 2
            return self._define(kind, where, lambda: _with_nulls(self._ask(kind, kind.schema, where)))
        if typing.is_typeddict(kind) or hasattr(kind, "__required_keys__"):  # the other one is of typing_extensions
            return self._define(kind, where, lambda: self._read_typed_dict(kind))
        if dataclasses.is_dataclass(kind) and not hasattr(kind, "__pydantic_fields__"):
            return self._define(kind, where, lambda: self._read_dataclass(kind))
        raise UnreadableError(f"{where}: {_name_of(kind)} is not supported")

    def _define(self, kind: Any, where: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a reference to the definition of something with a name, which is made if it is met first."""
        if getattr(kind, "__parameters__", ()):
            raise UnreadableError(f"{where}: a generic {_name_of(kind)} is not supported")
        if kind not in self._names:
            plain = re.sub(r"\W", "_", kind.__name__, flags=re.ASCII)
            name, number = plain, 1
            while name in self._definitions:
                name, number = f"{plain}_{number + 1}", number + 1
            self._names[kind] = name
            self._definitions[name] = {}  # what it contains must not take its name
            self._definitions[name] = make()
        return {"$ref": _DEFINITION.format(name=self._names[kind])}

    def _ask(self, kind: type[Any], schema: Callable[..., Any], where: str) -> dict[str, Any]:
        """Return what a model of pydantic says of itself, with its own definitions under names that nobody else has."""
        name = self._names[kind]
        try:
            said = cast("dict[str, Any]", json.loads(json.dumps(schema(ref_template=f"#/$defs/{name}.{{model}}"))))
        except Exception as error:
            raise UnreadableError(f"{where}: {_name_of(kind)} gives no schema ({type(error).__name__})") from error
        for inner, definition in said.pop("$defs", {}).items():
            self._definitions[f"{name}.{inner}"] = definition
        for inner, definition in said.pop("definitions", {}).items():  # the name before version 2
            self._definitions[f"{name}.{inner}"] = _with_nulls(definition)
        return said

    def _read_typed_dict(self, kind: type[Any]) -> dict[str, Any]:
        hints = _hints(kind, kind.__name__)
        required = {name for name in hints if name in kind.__required_keys__}
        for name, hint in hints.items():  # where annotations are texts, the class has not seen what they say
            match typing.get_origin(hint):
                case typing.Required:
                    required.add(name)
                case typing.NotRequired:
                    required.discard(name)
                case _:
                    pass
        properties = {name: self.read(hint, f"{kind.__name__}.{name}") for name, hint in hints.items()}
        return _object(kind.__doc__, properties, [name for name in hints if name in required])

    def _read_dataclass(self, kind: type[Any]) -> dict[str, Any]:
        hints = _hints(kind, kind.__name__)
        properties: dict[str, Any] = {}
        required: list[str] = []
        for field in dataclasses.fields(kind):
            if not field.init:
                continue
            properties[field.name] = self.read(hints[field.name], f"{kind.__name__}.{field.name}")
            if field.default is not dataclasses.MISSING:
                properties[field.name] |= _default(field.default)
            elif field.default_factory is dataclasses.MISSING:
                required.append(field.name)
            elif (made := typing.get_origin(field.default_factory) or field.default_factory) in (list, dict):
                properties[field.name] |= _default(made())
        made_up = f"{kind.__name__}("  # the docstring of a dataclass that has none
        text = None if (kind.__doc__ or "").startswith(made_up) else kind.__doc__
        return _object(text, properties, required)

    def _items(self, arguments: Sequence[Any], where: str) -> dict[str, Any]:
        items = self.read(arguments[0], f"{where}[]") if arguments else {}
        return {"items": items} if items else {}

    def _read_tuple(self, arguments: Sequence[Any], where: str) -> dict[str, Any]:
        if not arguments or arguments[-1] is Ellipsis:
            return {"type": "array", **self._items(arguments, where)}
        items = [self.read(each, f"{where}[{place}]") for place, each in enumerate(arguments)]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}

    def _read_mapping(self, arguments: Sequence[Any], where: str) -> dict[str, Any]:
        if not arguments:
            return {"type": "object"}
        if arguments[0] not in (str, Any):
            raise UnreadableError(f"{where}: keys are texts in JSON, and the annotation says {_name_of(arguments[0])}")
        values = self.read(arguments[1], f"{where}.*")
        return {"type": "object", "additionalProperties": values} if values else {"type": "object"}

    def _needed(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the definitions that a schema refers to, and those that these refer to."""
        needed: dict[str, Any] = {}
        waiting = [schema]
        while waiting:
            for name in _references(waiting.pop()):
                if name in self._definitions and name not in needed:
                    needed[name] = self._definitions[name]
                    waiting.append(needed[name])
        return needed


def _references(value: Any) -> list[str]:
    """Return the names of the definitions that a part of a schema refers to."""
    if isinstance(value, list):
        return [name for each in cast("list[Any]", value) for name in _references(each)]
    if not isinstance(value, dict):
        return []
    members = cast("dict[str, Any]", value)
    own = _defined_name(members)
    return [*([] if own is None else [own]), *(name for each in members.values() for name in _references(each))]


def _defined_name(schema: dict[str, Any]) -> str | None:
    """Return the name of the definition that a schema refers to; None if it does not."""
    reference = schema.get("$ref")
    return reference.removeprefix("#/$defs/") if isinstance(reference, str) else None


def _object(text: str | None, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """Return the schema of an object that has these properties and no others, as a typing error would be one."""
    description = inspect.cleandoc(text or "")
    return {
        "type": "object",
        **({"description": description} if description else {}),
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _with_nulls(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of pydantic before its version 2, in which no schema says that a value may be None.

    So what is not required may be null, since `Optional` makes a field so.
    """
    properties: dict[str, Any] = schema.get("properties", {})
    for name, value in properties.items():
        if name not in schema.get("required", []):
            said = {word: value.pop(word) for word in ("title", "description", "default") if word in value}
            properties[name] = {**said, "anyOf": [value, {"type": "null"}]}
    return schema


def _one_of(values: list[Any], where: str) -> dict[str, Any]:
    if not all(value is None or type(value) in (str, int, float, bool) for value in values):
        raise UnreadableError(f"{where}: its values are not all texts, numbers, booleans or None")
    return {"enum": values}


def _default(value: Any) -> dict[str, Any]:
    """Return what a schema says of a default: nothing, if it is not plain JSON."""
    if isinstance(value, enum.Enum):
        value = value.value
    try:
        return {"default": json.loads(json.dumps(value, allow_nan=False))}
    except (TypeError, ValueError, RecursionError):
        return {}


def _description(said: Any) -> str | None:
    """Return the description in what an `Annotated` says: a text, a `Doc`, or a `Field` of pydantic."""
    for text in (said, getattr(said, "documentation", None), getattr(said, "description", None)):
        if isinstance(text, str) and text:
            return inspect.cleandoc(text)
    return None


def _hints(owner: Any, where: str, namespace: dict[str, Any] | None = None) -> dict[str, Any]:
    try:
        return typing.get_type_hints(owner, globalns=namespace, include_extras=True)
    except NameError as error:
        raise UnreadableError(f"{where}: the name {error.name} is not defined where the annotation stands") from error
    except Exception as error:
        raise UnreadableError(f"{where}: the annotation cannot be evaluated ({type(error).__name__})") from error


def _name_of(annotation: Any) -> str:
    return str(getattr(annotation, "__qualname__", None) or annotation)[:100]
