"""The messages are what inference.proto says, and what clients of the protocol mean by them."""

from __future__ import annotations

import tritonclient.grpc.model_config_pb2 as their_config
import tritonclient.grpc.service_pb2 as theirs
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import Default

from service.protocols.inference_v2 import inference_pb2 as ours
from service.protocols.inference_v2.grpc_generate import MODULE, TYPES, generated

THEIRS = {**their_config.DESCRIPTOR.message_types_by_name, **theirs.DESCRIPTOR.message_types_by_name}


def test_the_module_is_what_the_proto_makes() -> None:
    module, types = generated()
    assert MODULE.read_text(encoding="utf-8") == module, "run python -m service.protocols.inference_v2.grpc_generate"
    assert TYPES.read_text(encoding="utf-8") == types


def test_every_message_has_the_names_and_numbers_that_clients_know() -> None:
    for name, message in ours.DESCRIPTOR.message_types_by_name.items():
        assert_part_of(message, THEIRS[name])
    for value in ours.DESCRIPTOR.enum_types_by_name["DataType"].values:
        assert their_config.DataType.Value(value.name) == value.number


def assert_part_of(mine: Descriptor, known: Descriptor) -> None:
    for field in mine.fields:
        other = known.fields_by_name[field.name]
        assert (field.number, field.type, field.is_repeated) == (other.number, other.type, other.is_repeated), field
        assert (field.containing_oneof is None) == (other.containing_oneof is None), field.full_name
    for inner in mine.nested_types:
        assert_part_of(inner, known.nested_types_by_name[inner.name])
    for kind in mine.enum_types:
        numbers = {value.name: value.number for value in known.enum_types_by_name[kind.name].values}
        assert all(numbers[value.name] == value.number for value in kind.values), kind.full_name


def test_every_method_takes_and_gives_what_clients_know() -> None:
    known = theirs.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    for method in ours.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        other = known[method.name]
        assert method.input_type.full_name == other.input_type.full_name
        assert method.output_type.full_name == other.output_type.full_name


def test_the_messages_leave_the_common_pool_to_others() -> None:
    # A client in the same process has messages of the same names there.
    assert ours.DESCRIPTOR.pool is not Default()
    request = ours.ModelInferRequest(model_name="m", raw_input_contents=[b"abc"])
    assert theirs.ModelInferRequest.FromString(request.SerializeToString()).raw_input_contents == [b"abc"]
