"""The bodies of requests and responses for one model: `schemas` with its shapes, labels, features and limits."""

from typing import Annotated, Any, Literal, Union

from annotated_types import Interval, Len
from pydantic import BaseModel, Field, create_model
from pydantic.json_schema import SkipJsonSchema

from models.spec import DataSpec
from serving.api import schemas, table_rows


def narrowed(spec: DataSpec, max_batch: int, max_files: int) -> dict[Any, Any]:
    """The bodies that depend on the model, by the general one, as `spec` and the limits allow them."""
    classes = len(spec.labels)  # a regression has none, and no top_k
    no_field = Annotated[None, SkipJsonSchema()]
    top_k = Annotated[int, Interval(ge=1, le=classes)] | None if classes else no_field
    label = Literal[spec.labels] if any(spec.labels) else str
    prediction = _narrow(schemas.ClassPrediction, label=label) if classes else schemas.ValuePrediction
    rank = len(spec.shape) + 1
    shape = _list(Annotated[int, Interval(ge=1, le=max_batch)], rank, rank)
    name, datatype = Literal[spec.input_name], Literal[schemas.DATATYPES[spec.dtype]]
    number = schemas.Pixel if spec.dtype == "uint8" else schemas.Float32
    data = _list(number) | _list(_nested(spec.shape, number))
    tensor = _narrow(schemas.InferInput, name=name, datatype=datatype, shape=shape, data=data)
    return {
        schemas.PredictRequest: _narrow(schemas.PredictRequest, inputs=_batch(spec, max_batch), top_k=top_k),
        schemas.ImageOptions: _narrow(schemas.ImageOptions, top_k=top_k),
        schemas.ImageForm: _narrow(schemas.ImageForm, files=_list(bytes, 1, max_files), top_k=top_k),
        schemas.PredictResponse: _narrow(schemas.PredictResponse, predictions=_list(prediction)),
        schemas.InferRequest: _narrow(schemas.InferRequest, inputs=_list(tensor, 1, 1)),
    }


def _narrow(body: type[BaseModel], **types: Any) -> type[BaseModel]:
    """`body` with other types of some fields. Raises KeyError for a field that it does not have."""
    fields: dict[str, Any] = {name: (type_, body.model_fields[name]) for name, type_ in types.items()}
    return create_model(body.__name__, __base__=body, __doc__=body.__doc__, **fields)


def _list(item: Any, least: int = 0, most: int | None = None) -> Any:
    """A list of `least` to `most` items."""
    return Annotated[list[item], Len(least, most)]


def _batch(spec: DataSpec, max_batch: int) -> Any:
    """A batch in every notation, each for all of its examples."""
    if spec.kind == "image":
        notations = [_nested(shape, schemas.Pixel) for shape in (spec.shape, spec.shape[:2])]
        notations = notations if spec.shape[2] == 1 else notations[:1]
    else:  # the codes of categories are internal, so no lists where there are any
        notations = [_row(spec)] + ([] if any(spec.categories) else [_nested(spec.shape, schemas.Float32)])
    return Union[tuple(_list(example, 1, max_batch) for example in notations)]  # noqa: UP007


def _nested(shape: tuple[int, ...], item: Any) -> Any:
    """Nested lists of this shape."""
    for size in reversed(shape):
        item = _list(item, size, size)
    return item


def _row(spec: DataSpec) -> Any:
    """A table row as an object by feature name: numbers, names of categories, and null where a value may be missing."""
    if not any(spec.features):
        return dict[str, schemas.Float32 | str | None]
    fields: dict[str, Any] = {}
    for name, categories, fill in zip(spec.features, spec.categories, spec.fill, strict=True):
        about = f"one of {', '.join(categories)}; any other is unknown" if categories else None
        type_: Any = str if categories else schemas.Float32
        type_ = bool | str if table_rows.is_boolean(categories) else type_
        type_ = type_ if fill is None else type_ | None
        fields[f"feature_{len(fields)}"] = (type_, Field(alias=name, description=about))
    return create_model("Row", __base__=schemas.Body, **fields)
