"""The `onnx` package's light models: real networks with weights that are made up as they load.

The input is what the package's own runner feeds them: 0, 1/n, 2/n, ... in n numbers.
"""

from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx import TensorProto, numpy_helper

from models.config import ModelConfig
from models.runtimes.onnx import OnnxModel

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"
NAMES = sorted(path.stem for path in LIGHT.glob("*.onnx"))


def test_the_package_has_its_light_models() -> None:
    assert len(NAMES) >= 9


@pytest.mark.parametrize("name", NAMES)
def test_a_light_model_answers_as_expected(name: str) -> None:
    config = ModelConfig(name=name, directory=LIGHT, versions={"1": f"{name}.onnx"})
    model = OnnxModel(config, "1")
    model.load()
    [spec] = model.metadata.inputs
    count = int(np.prod(spec.shape))
    ramp = (np.arange(count).reshape(spec.shape) / count).astype(np.float32)
    [answer] = model.predict({spec.name: ramp}).values()
    model.unload()
    expected = TensorProto()
    expected.ParseFromString((LIGHT / f"{name}_output_0.pb").read_bytes())
    wanted = numpy_helper.to_array(expected)
    assert (answer.dtype, answer.shape) == (wanted.dtype, wanted.shape)
    left, right = answer.astype(np.float64), wanted.astype(np.float64)
    np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-7)
