"""What clients of Triton send as `config` when they load a model, in every spelling."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from app.api.descriptions import encode_config
from app.api.grpc.proto import inference_pb2 as pb
from app.errors import InvalidInput
from app.types import JsonValue, ModelMetadata, TensorSpec
from models.repository.model_yaml import ModelConfig
from models.repository.override import with_override
from models.repository.policy import All, Latest, Specific
from models.repository.triton_config import check_agrees

BATCHED = ModelMetadata(
    name="m",
    versions=("1", "3"),
    platform="onnxruntime_onnx",
    inputs=(TensorSpec("x", "FP32", (-1, 3)), TensorSpec("text", "BYTES", (-1,))),
    outputs=(TensorSpec("y", "INT64", (-1, -1, 4)),),
    max_batch_size=32,
)
SINGLE = ModelMetadata(
    name="m",
    versions=("2",),
    platform="onnxruntime_onnx",
    inputs=(TensorSpec("x", "FP32", (1, 3)), TensorSpec("scale", "FP64", ())),
    outputs=(TensorSpec("y", "BOOL", (-1,)),),
)


def over_http(metadata: ModelMetadata) -> Mapping[str, JsonValue]:
    return encode_config(metadata)


def over_grpc(metadata: ModelMetadata, *, snake: bool = True) -> Mapping[str, JsonValue]:
    """As clients print the message: the whole answer, 64 bits as texts, no defaults."""
    message = ParseDict({"config": encode_config(metadata)}, pb.ModelConfigResponse())
    told: dict[str, JsonValue] = MessageToDict(message, preserving_proto_field_name=snake)
    assert isinstance(told["config"], dict)
    assert "'3'" in str(told), "64 bits are texts"
    return told


def in_camel_case(metadata: ModelMetadata) -> Mapping[str, JsonValue]:
    told = over_grpc(metadata, snake=False)
    assert "versionPolicy" in str(told)
    return told


@pytest.mark.parametrize("metadata", [BATCHED, SINGLE], ids=["batched", "single"])
@pytest.mark.parametrize("answer", [over_http, over_grpc, in_camel_case])
def test_what_we_answer_is_taken_back(answer: object, metadata: ModelMetadata) -> None:
    assert callable(answer)
    told = answer(metadata)
    changed = with_override(ModelConfig(name="m", max_batch_size=metadata.max_batch_size), told)
    check_agrees(told, metadata)
    assert changed.version_policy == Specific(specific=tuple(map(int, metadata.versions)))
    assert changed.max_batch_size == metadata.max_batch_size


@pytest.mark.parametrize(
    ("override", "changes"),
    [
        ({"max_batch_size": 4}, {"max_batch_size": 4}),
        ({"maxBatchSize": 0}, {"max_batch_size": 0}),
        (
            {"version_policy": {"latest": {"num_versions": "2"}}},
            {"version_policy": Latest(latest=2)},
        ),
        ({"versionPolicy": {"latest": {"numVersions": 2}}}, {"version_policy": Latest(latest=2)}),
        ({"version_policy": {"all": {}}}, {"version_policy": All(all=True)}),
        ({"version_policy": {}}, {}),
        ({"instance_group": [{"name": "g", "count": 2}]}, {"instances": 2}),
        (
            {"instanceGroup": [{"kind": "KIND_CPU", "count": 3}]},
            {"instances": 3, "providers": ("CPUExecutionProvider",)},
        ),
        (
            {"instance_group": [{"kind": "KIND_GPU", "gpus": [0]}]},
            {"providers": ("CUDAExecutionProvider",)},
        ),
        (
            {"dynamic_batching": {"default_queue_policy": {"max_queue_size": 7}}},
            {"queue_size": 7},
        ),
        ({"optimization": "basic"}, {"optimization": "basic"}),
        ({"queue_size": 9, "name": "m"}, {"queue_size": 9}),
    ],
)
def test_what_there_is_an_equivalent_for(
    override: dict[str, JsonValue], changes: dict[str, object]
) -> None:
    before = ModelConfig(name="m")
    assert with_override(before, override) == before.model_copy(update=changes)


def test_what_holds_its_default_asks_for_nothing() -> None:
    texts = ("name", "platform", "backend", "runtime", "default_model_filename")
    lists = ("input", "output", "model_warmup", "instance_group")
    maps = ("parameters", "cc_model_filenames", "metric_tags", "version_policy")
    override: dict[str, JsonValue] = {
        **dict.fromkeys(texts, ""),
        **{name: [] for name in lists},
        **{name: {} for name in maps},
        "optimization": {"priority": "PRIORITY_DEFAULT", "gather_kernel_buffer_threshold": 0},
        "model_transaction_policy": {"decoupled": False},
        "response_cache": {"enable": False},
        "sequence_batching": None,
        "dynamic_batching": {
            "preferred_batch_size": [],
            "max_queue_delay_microseconds": "0",
            "default_queue_policy": {"timeout_action": "REJECT", "max_queue_size": 0},
        },
    }
    before = ModelConfig(name="m")
    assert with_override(before, override) == before
    check_agrees(override, BATCHED)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"name": "n"}, r"config\.name: is 'n'; the model is called 'm'"),
        ({"runtime": "onnx"}, r"config\.runtime: cannot be changed"),
        ({"sequence_batching": {"oldest": {"max_queue_delay_microseconds": 5}}}, "not supported"),
        ({"sequence_batching": {}}, r"config\.sequence_batching: is not supported"),
        ({"ensembleScheduling": {}}, r"config\.ensemble_scheduling: is not supported"),
        ({"model_warmup": [{"name": "w"}]}, r"config\.model_warmup: is not supported"),
        ({"parameters": {"k": {"string_value": "v"}}}, r"config\.parameters: is not supported"),
        ({"response_cache": {"enable": True}}, r"config\.response_cache: is not supported"),
        ({"optimization": {"graph": {"level": 1}}}, r"config\.optimization: is not supported"),
        (
            {"dynamic_batching": {"max_queue_delay_microseconds": "100"}},
            r"config\.dynamic_batching\.max_queue_delay_microseconds: is not supported",
        ),
        (
            {"dynamic_batching": {"default_queue_policy": {"timeout_action": "DELAY"}}},
            r"config\.dynamic_batching\.default_queue_policy\.timeout_action: is not supported",
        ),
        ({"dynamic_batching": []}, r"config\.dynamic_batching: must be an object"),
        ({"instance_group": {}}, r"config\.instance_group: must be a list"),
        ({"instance_group": [{}, {}]}, r"config\.instance_group: more than one group"),
        ({"instance_group": [{"kind": "KIND_MODEL"}]}, r"instance_group\.0\.kind: is not supp"),
        ({"instance_group": [{"gpus": [1]}]}, r"config\.instance_group\.0\.gpus: is not supported"),
        ({"instance_group": [{"count": 65}]}, r"config\.instance_group\.0\.count: .* 64"),
        (
            {"instance_group": [{"count": 2}], "instances": 3},
            r"config\.instance_group\.0\.count: is said by config\.instances too",
        ),
        ({"inputs": []}, r"config\.inputs: is not a known field"),
        ({"queueSize": 3}, r"config\.queueSize: is not a known field"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    override: dict[str, JsonValue], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        with_override(ModelConfig(name="m"), override)


@pytest.mark.parametrize("dims", [[-1, 3], ["3"], [3]])
def test_dims_may_leave_the_batch_out(dims: list[JsonValue]) -> None:
    check_agrees({"input": [{"name": "x", "data_type": "TYPE_FP32", "dims": dims}]}, BATCHED)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"platform": "pytorch_libtorch"}, r"config\.platform: .*model's is 'onnxruntime_onnx'"),
        ({"backend": "tensorrt"}, r"config\.backend: is 'tensorrt'; the model's is 'onnxruntime'"),
        ({"input": [{"name": "z"}]}, r"config\.input\.0\.name: is 'z'; the model has: x, text"),
        (
            {"output": [{"name": "y", "dataType": "TYPE_FP16"}]},
            r"config\.output\.0\.data_type: is 'TYPE_FP16'; that of 'y' is 'TYPE_INT64'",
        ),
        (
            {"input": [{"name": "x", "dims": ["4"]}]},
            r"config\.input\.0\.dims: is \['4'\]; the shape of 'x' is \[-1, 3\]",
        ),
        ({"input": [{"name": "x", "dims": ["?"]}]}, r"input\.0\.dims: must be a list of whole"),
        ({"input": [{"name": "x", "optional": True}]}, r"config\.input\.0\.optional: is not supp"),
        ({"input": [5]}, r"config\.input\.0: must be an object"),
        ({"output": {}}, r"config\.output: must be a list"),
    ],
)
def test_a_config_of_another_model_is_refused(override: dict[str, JsonValue], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        check_agrees(override, BATCHED)


@pytest.mark.parametrize("found", [(-1, -1, -1), ()])
def test_fault_153_a_configuration_tells_outputs_as_they_were_found(found: tuple[int, ...]) -> None:
    seen = replace(BATCHED, outputs=(TensorSpec("y", "INT64", found),))
    check_agrees(encode_config(seen), BATCHED)


@pytest.mark.parametrize("dims", [[-1, 5], [-1, 4, 4]])
def test_an_output_of_other_dimensions_does_not_agree(dims: list[JsonValue]) -> None:
    with pytest.raises(InvalidInput, match=r"dims: is .* the shape of 'y' is"):
        check_agrees({"output": [{"name": "y", "dims": dims}]}, BATCHED)
