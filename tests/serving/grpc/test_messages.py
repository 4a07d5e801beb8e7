"""The declared messages against those of an independent client."""

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from serving.grpc.messages import MESSAGES, message

PAIRS = [name for name in MESSAGES if name.endswith(("Request", "Response"))]


def check(ours: Descriptor, theirs: Descriptor) -> None:
    """Each field has the same name, number, type and label in both, and so have the messages in it."""
    for field in ours.fields:
        published = theirs.fields_by_name[field.name]
        assert (field.number, field.type, field.is_repeated) == (
            published.number,
            published.type,
            published.is_repeated,
        )
        if field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type.full_name != ours.full_name:
            check(field.message_type, published.message_type)
        if field.type == FieldDescriptor.TYPE_ENUM:
            for value in field.enum_type.values:
                assert published.enum_type.values_by_name[value.name].number == value.number


@pytest.mark.parametrize("name", PAIRS)
def test_fields_are_those_of_the_published_protocol(name: str) -> None:
    published = pytest.importorskip("tritonclient.grpc").service_pb2
    check(message(name).DESCRIPTOR, getattr(published, name).DESCRIPTOR)
