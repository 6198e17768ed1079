"""Types of the values of a configuration, and the base of its sections (pydantic).

Values are strict: no text for a whole number, no 1 for true. Two exceptions, for YAML: 2e-4 is read
as text, and lists are the tuples of the code.
"""

from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    TypeAdapter,
    WithJsonSchema,
)

from job.config.validation import Expected

_NUM_BYTES = TypeAdapter(ByteSize)
BYTES_EXAMPLES = "64MiB, 1GB or 67108864"


class Section(BaseModel):
    """A section of ``run.yaml``: a key is a field, its meaning the docstring of the field."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    def replace(self, **values: Any) -> Self:
        """Return a copy with other ``values``, unchecked."""
        return self.model_copy(update=values)


def _num_bytes(value: Any) -> Any:
    return int(_NUM_BYTES.validate_python(value)) if isinstance(value, str) else value


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _square(value: Any) -> Any:
    return (value, value) if type(value) is int else value


_SIZE = {"type": "integer", "minimum": 1}
_TWO_SIZES = {"type": "array", "minItems": 2, "maxItems": 2, "items": _SIZE}
Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
FROM_TEXT = BeforeValidator(_number)  # last in Annotated, so that JSON Schema has the limits
PositiveNumber = Annotated[float, Field(gt=0), FROM_TEXT]
NonNegativeNumber = Annotated[float, Field(ge=0), FROM_TEXT]
NumBytes = Annotated[
    int,
    Field(ge=1),
    BeforeValidator(_num_bytes),
    Expected(f"at least 1 byte, for example {BYTES_EXAMPLES}"),
    WithJsonSchema({"type": ["integer", "string"], "minimum": 1}),
]
Sizes = Annotated[
    tuple[Positive, ...],
    Field(strict=False, min_length=1),
    Expected("a list of one or more positive whole numbers, for example [128, 64]"),
]
ImageSize = Annotated[
    tuple[Positive, Positive],
    Field(strict=False),
    BeforeValidator(_square),
    Expected("a list of 2 positive whole numbers, for example [28, 28]"),
    WithJsonSchema({"anyOf": [_TWO_SIZES, _SIZE]}),
]
