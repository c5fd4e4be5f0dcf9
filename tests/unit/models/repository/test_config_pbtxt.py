import logging
from pathlib import Path

import pytest

from app.errors import ConfigurationError
from models.repository.config_pbtxt import load_config_pbtxt
from models.repository.repository import ModelRepository
from models.repository.text_format import TextFormatError, parse_text_format
from models.serving.service import LocalModelService
from tests.unit.models.onnx_files import identity

FULL = """
# as a Triton repository has it
name: "m"
platform: 'onnxruntime_onnx'
backend: "onnx" "runtime"
max_batch_size: 8
default_model_filename: "net.onnx"
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] } ]
output [
  {
    name: "y", data_type: TYPE_FP32, dims: [ 3 ]
    label_filename: "classes.txt"
  }
]
version_policy: { specific: { versions: [1, 2] } }
instance_group [ { count: 2 kind: KIND_CPU } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ]; max_queue_delay_microseconds: 100
  default_queue_policy < max_queue_size: 16 > }
parameters { key: "intra_op_thread_count" value: { string_value: "1" } }
optimization { graph: { level: 1 } }
"""


def write(root: Path, text: str, artefact: str = "net.onnx") -> Path:
    for version in ("1", "2"):
        identity(root / "m" / version / artefact)
    (root / "m" / "classes.txt").write_text("a\nb\nc\n")
    (root / "m" / "config.pbtxt").write_text(text)
    return root / "m"


async def served(root: Path) -> LocalModelService:
    service = LocalModelService(ModelRepository([root]), "m")
    await service.load()
    return service


async def test_fault_156_a_triton_repository_is_obeyed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = load_config_pbtxt(write(tmp_path, FULL))
    assert dict(config.versions) == {"1": "1/net.onnx", "2": "2/net.onnx"}
    assert (config.max_batch_size, config.queue_size, config.instances) == (8, 16, 2)
    assert (config.threads, config.providers) == (1, ("CPUExecutionProvider",))
    repository = ModelRepository([tmp_path])
    repository.scan()
    told = [record.getMessage().partition("config.pbtxt:")[2] for record in caplog.records]
    assert sorted(line.partition(": is not used")[0] for line in told) == [
        "17: dynamic_batching.max_queue_delay_microseconds",
        "17: dynamic_batching.preferred_batch_size",
        "20: optimization",
    ]
    service = await served(tmp_path)
    assert service.reason == ""
    metadata = await service.metadata()
    assert metadata.versions == ("1", "2")
    assert metadata.labels == {"y": ("a", "b", "c")}
    await service.reload({"max_batch_size": 0})
    assert (await service.metadata()).max_batch_size == 0
    await service.close()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\nsequence_batching { }", r":2: sequence_batching: is not supported"),
        ("ensemble_scheduling { step [ ] }", r":1: ensemble_scheduling: is not supported"),
        ('platform: "pytorch_libtorch"', r":1: platform: is 'pytorch_libtorch'; known are: onnx"),
        ('backend: "python"', r":1: backend: is 'python'; known are: onnxruntime"),
        ('name: "other"', r":1: name: is 'other'; the model is called 'm'"),
        ("model_transaction_policy { decoupled: true }", r":1: model_transaction_policy: is not"),
        ("input { name: 'x'\n reshape { shape: [1] } }", r":2: input\.0\.reshape: is not supp"),
        ("input { allow_ragged_batch: true }", r":1: input\.0\.allow_ragged_batch: is not supp"),
        ("instance_group { kind: KIND_MODEL }", r":1: instance_group\.0\.kind: is not supported"),
        ("max_batch: 8", r":1: max_batch: is no field of a model configuration"),
        ("max_batch_size: -1", r":1: max_batch_size: "),
        ("max_batch_size 8", r":1: a colon is missing after max_batch_size"),
        ("\ninput [ {", r":2: it ends in the middle of a field"),
        (
            "version_policy { specific { versions: [3] } }",
            r":1: version_policy: there is no version 3",
        ),
    ],
)
def test_fault_156_what_cannot_be_done_is_named(tmp_path: Path, text: str, reason: str) -> None:
    write(tmp_path, text, "model.onnx")
    problems = list(ModelRepository([tmp_path]).validate())
    assert problems
    with pytest.raises(ConfigurationError, match=reason):
        raise problems[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "max_batch_size: 4\ninput { name: 'x' data_type: TYPE_FP32 dims: [-1, 3] }",
            "2: input.0.dims",
        ),
        (
            "max_batch_size: 0\ninput { name: 'x' data_type: TYPE_FP32 dims: [3] }",
            "2: input.0.dims",
        ),
        ("max_batch_size: 4\ninput { name: 'x' data_type: TYPE_FP32 dims: 3 }", ""),
        ("max_batch_size: 0\ninput { name: 'x' data_type: TYPE_FP32 dims: [5, 3] }", ""),
        ("output { name: 'y'\n data_type: TYPE_INT64 dims: [3] }", "2: output.0.data_type"),
        ("input { name: 'z' }", "1: input.0.name"),
    ],
)
async def test_fault_156_tensors_are_compared_with_the_file(
    tmp_path: Path, text: str, reason: str
) -> None:
    write(tmp_path, text, "model.onnx")
    service = await served(tmp_path)
    assert await service.ready() == (not reason), service.reason
    assert (f"config.pbtxt:{reason}" in service.reason) if reason else not service.reason
    await service.close()


async def test_model_yaml_stands_for_config_pbtxt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (write(tmp_path, "nonsense", "model.onnx") / "model.yaml").write_text("max_batch_size: 7\n")
    assert ModelRepository([tmp_path]).config("m").max_batch_size == 7
    assert "config.pbtxt is not read, model.yaml stands for it" in caplog.text


def test_text_is_read_as_protobuf_writes_it() -> None:
    text = r"a: -1 b: 0x1F c: 1.5e3f d: 'it\'s \n\x41\101' e: SOME f: true"
    text += "\ng < h: [1, 2] >; h: 3, h: 4  # the rest"
    fields, lines = parse_text_format(text, {"h"})
    expected = {"a": -1, "b": 31, "c": 1500.0, "d": "it's \nAA", "e": "SOME", "f": True}
    assert fields == {**expected, "g": {"h": [1, 2]}, "h": [3, 4]}
    assert lines["h", "1"] == 2


@pytest.mark.parametrize("text", ["a", "a:", "a: }", "a { b: 1", "a: [1 2]", "}", "a: 1 a: 2", "$"])
def test_text_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(TextFormatError):
        parse_text_format(text, ())
    with pytest.raises(TextFormatError, match="too deeply"):
        parse_text_format("a {" * 100, ())
