"""The types of values in a recipe: names, addresses, digests, rows of W+; and its sections."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WrapValidator

from invertory.resources.addresses import OURS, VARIABLE, Address, expanded, scheme_of

NAME = re.compile(r"[a-z][a-z0-9_]*")
_ROWS = r" *\d{1,3} *(- *\d{1,3} *)?"
LAYERS = re.compile(rf"all|{_ROWS}(,{_ROWS})*")


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(f"expected lower-case letters, digits and '_', got {text!r}")
    return text


def _address(given: Any, validate: Callable[[Any], str]) -> Address:
    """Keeps `${NAME}` as it is written until the address is opened; the variable must be set."""
    return given if isinstance(given, Address) else address_of(validate(given))


def address_of(uri: str) -> Address:
    """The address that a recipe or the command line names; ValueError where it cannot be one."""
    if not uri.strip():
        raise ValueError("expected an address, got empty text")
    opened = expanded(uri)
    if scheme_of(uri) in OURS or not VARIABLE.search(uri):
        return Address(opened)
    return Address(str(Path(uri).expanduser()) if uri.startswith("~/") else uri)


def with_addresses(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters with every URL as an `Address`."""
    return {
        name: address_of(value) if isinstance(value, str) and "://" in value else value
        for name, value in parameters.items()
    }


def _digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(f"expected a sha256 of 64 hexadecimal digits, got {text!r}")
    return text


def _layers(text: str) -> str:
    if not LAYERS.fullmatch(text):
        raise ValueError(f"expected 'all' or rows such as '0-3,8', got {text!r}")
    for rows in text.split(",") if text != "all" else ():
        first, _, last = rows.partition("-")
        if last and int(last) < int(first):
            raise ValueError(f"expected rows that go up, got {rows!r} in {text!r}")
    return text


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for i, value in enumerate(values):
        if value in values[:i]:
            shown = f"{value:g}" if isinstance(value, float) else repr(value)
            raise ValueError(f"{shown} occurs twice; remove one")
    return values


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise ValueError(f"expected 'auto', 'cpu', 'cuda' or 'cuda:1', got {text!r}")
    return text


def _owner(text: str) -> str:
    if not re.fullmatch(r"team:[\w.-]+|[^@\s]+@[^@\s]+\.[^@\s]+", text):
        raise ValueError(f"expected an e-mail address or 'team:name', got {text!r}")
    return text


def one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _with_current_names(parameters: dict[str, Any]) -> dict[str, Any]:
    """A method's parameters; `bf16`, the former word for bfloat16, is still read."""
    is_former = parameters.get("precision") == "bf16"
    return {**parameters, "precision": "bfloat16"} if is_former else parameters


def empty_if_null(value: Any) -> Any:
    return {} if value is None else value


Name = Annotated[str, AfterValidator(_name)]
Uri = Annotated[str, WrapValidator(_address)]  # an Address
Digest = Annotated[str, AfterValidator(_digest)]
Names = Annotated[tuple[Name, ...], AfterValidator(distinct)]
Owner = Annotated[str, AfterValidator(_owner)]
Parameters = Annotated[
    dict[str, Any], BeforeValidator(empty_if_null), AfterValidator(with_addresses)
]
MethodParameters = Annotated[Parameters, AfterValidator(_with_current_names)]
Format = Literal["png", "jpeg", "webp"]
Share = Annotated[float, Field(ge=0, le=1)]
Pixels = Annotated[int, Field(ge=8, le=8192)]
Layers = Annotated[str, AfterValidator(_layers)]
Device = Annotated[str, AfterValidator(_device)]


class Section(BaseModel):
    """A section of a recipe or a training: frozen, without coercion.

    `"12"` is no number, and an unknown key is an error.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )
