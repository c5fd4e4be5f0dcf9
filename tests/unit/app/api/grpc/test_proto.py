"""Our messages are the ones that the protocol's own clients speak."""

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from tritonclient.grpc import model_config_pb2, service_pb2

from app.api.grpc.proto import inference_pb2

OURS = inference_pb2.DESCRIPTOR


def their_message(name: str) -> Descriptor:
    for file in (service_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR):
        found: Descriptor | None = file.message_types_by_name.get(name)
        if found is not None:
            return found
    raise AssertionError(f"the clients know no message {name}")


def pairs(ours: Descriptor, theirs: Descriptor) -> Iterator[tuple[Descriptor, Descriptor]]:
    yield ours, theirs
    for nested in ours.nested_types:
        yield from pairs(nested, theirs.nested_types_by_name[nested.name])


def shape_of(field: FieldDescriptor) -> tuple[object, ...]:
    kind = field.message_type or field.enum_type
    oneof = field.containing_oneof
    return (
        field.number,
        field.type,
        field.is_repeated,
        None if kind is None else kind.full_name,
        None if oneof is None else oneof.name,
    )


@pytest.mark.parametrize("name", sorted(OURS.message_types_by_name))
def test_every_field_has_the_number_and_type_that_clients_know(name: str) -> None:
    for ours, theirs in pairs(OURS.message_types_by_name[name], their_message(name)):
        for field in ours.fields:
            assert shape_of(field) == shape_of(theirs.fields_by_name[field.name]), field.full_name


def test_every_datatype_of_a_configuration_has_the_number_that_clients_know() -> None:
    ours = OURS.enum_types_by_name["DataType"].values_by_name
    theirs = model_config_pb2.DESCRIPTOR.enum_types_by_name["DataType"].values_by_name
    assert {name: value.number for name, value in ours.items()} == {
        name: value.number for name, value in theirs.items()
    }


def test_every_call_takes_and_gives_what_clients_expect() -> None:
    theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    ours = OURS.services_by_name["GRPCInferenceService"].methods_by_name
    for name, method in ours.items():
        other = theirs[name]
        assert method.input_type.full_name == other.input_type.full_name
        assert method.output_type.full_name == other.output_type.full_name
        assert method.client_streaming == other.client_streaming
        assert method.server_streaming == other.server_streaming
    assert {name for name in theirs if not name.startswith("Cuda")} == set(ours)
