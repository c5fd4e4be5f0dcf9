"""The `onnx` package's light models over HTTP and gRPC.

They are real networks with weights that are made up as they load. The input is what the package's
own runner feeds them: 0, 1/n, 2/n, ... in n numbers.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx.backend.test
import pytest
from onnx import TensorProto, numpy_helper

from tests.conformance.cases import agree
from tests.conformance.doors import DOORS, Doors, open_doors

pytestmark = pytest.mark.integration

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"
NAMES = sorted(path.stem for path in LIGHT.glob("*.onnx"))


def test_the_package_has_its_light_models() -> None:
    assert len(NAMES) >= 9


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """Only one model is held at a time: together they have more than a gigabyte of weights."""
    repository = tmp_path_factory.mktemp("repository")
    for name in NAMES:
        (repository / name / "1").mkdir(parents=True)
        shutil.copy(LIGHT / f"{name}.onnx", repository / name / "1" / "model.onnx")
        (repository / name / "model.yaml").write_text("on_demand: true\n")
    with open_doors(repository) as opened:
        yield opened


@pytest.mark.parametrize("name", NAMES)
def test_a_light_model_answers_as_expected(doors: Doors, name: str) -> None:
    expected = TensorProto()
    expected.ParseFromString((LIGHT / f"{name}_output_0.pb").read_bytes())
    wanted = numpy_helper.to_array(expected)
    config = doors.http.get_model_config(name)
    assert config["max_batch_size"] == 0, "its batch is fixed in the file: it is never stacked"
    [spec] = doors.http.get_model_metadata(name)["inputs"]
    count = int(np.prod(spec["shape"]))
    ramp = (np.arange(count).reshape(spec["shape"]) / count).astype(np.float32)
    for door in DOORS:
        [answer] = doors.infer(door, name, {spec["name"]: ramp}).values()
        agree(answer, wanted, rtol=1e-3, atol=1e-7)
