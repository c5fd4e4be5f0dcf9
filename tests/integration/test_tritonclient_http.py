"""Triton's own HTTP client against the product, with no switch set but the address."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from app.types import Array
from models.training.digits_data import split
from tests.integration.product import Product, project_files

triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")

utils = pytest.importorskip("tritonclient.utils")

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    running = Product(tmp_path_factory.mktemp("product"), *project_files())
    try:
        running.start()
        yield running
    finally:
        running.stop(signal.SIGTERM)


@pytest.fixture
def client(product: Product) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{product.port}") as made:
        yield made


@pytest.fixture(scope="module")
def pictures() -> tuple[Array, Array]:
    """Eight digits that the model did not learn from, and what they are."""
    _, images, _, digits = split()
    return images[:8], digits[:8]


def image_of(pictures: Array, *, binary: bool) -> Any:
    tensor = triton.InferInput("image", pictures.shape, "FP32")
    tensor.set_data_from_numpy(pictures, binary_data=binary)
    return tensor


def test_health(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.is_model_ready("text-detect", "1")
    assert not client.is_model_ready("absent")


def test_metadata(client: Any) -> None:
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("digits")
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]


@pytest.mark.parametrize("model", ["digits", "text-detect"])
def test_configuration_wherever_the_model_lives(client: Any, model: str) -> None:
    config = client.get_model_config(model)
    assert config["name"] == model
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    if model == "digits":
        assert config["max_batch_size"] == 32
        assert config["input"][0]["dims"] == [1, 8, 8]


def test_a_configuration_that_was_told_can_be_loaded(client: Any) -> None:
    told = client.get_model_config("digits")
    client.load_model("digits", config=json.dumps({**told, "max_batch_size": 4}))
    assert client.get_model_config("digits") == {**told, "max_batch_size": 4}
    with pytest.raises(
        utils.InferenceServerException, match=r"config\.platform: is 'tensorrt_plan'"
    ):
        client.load_model("digits", config=json.dumps({**told, "platform": "tensorrt_plan"}))
    client.load_model("digits")
    assert client.get_model_config("digits") == told


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_infer(
    client: Any,
    pictures: tuple[Array, Array],
    binary_in: bool,
    binary_out: bool,
) -> None:
    images, digits = pictures
    result = client.infer(
        "digits",
        [image_of(images, binary=binary_in)],
        outputs=[triton.InferRequestedOutput("probabilities", binary_data=binary_out)],
        request_id="a1",
        timeout=5_000_000,
    )
    scores = result.as_numpy("probabilities")
    assert scores.shape == (8, 10)
    assert (scores.argmax(axis=1) == digits).mean() >= 0.75
    assert result.get_response()["id"] == "a1"


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_both_ways(client: Any, pictures: tuple[Array, Array], algorithm: str) -> None:
    images = np.concatenate([pictures[0]] * 4)
    tensor = [image_of(images, binary=True)]
    plain = client.infer("digits", tensor).as_numpy("probabilities")
    packed = client.infer(
        "digits",
        tensor,
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_allclose(packed.as_numpy("probabilities"), plain, rtol=1e-5)


def test_classification(client: Any, pictures: tuple[Array, Array]) -> None:
    output = triton.InferRequestedOutput("probabilities", binary_data=True, class_count=3)
    tensor = [image_of(pictures[0], binary=True)]
    best = client.infer("digits", tensor, outputs=[output]).as_numpy("probabilities")
    scores = client.infer("digits", tensor).as_numpy("probabilities")
    assert best.shape == (8, 3)
    score, index, label = best[0, 0].decode().split(":")
    assert int(index) == scores[0].argmax()
    assert label == index
    assert float(score) == pytest.approx(scores[0].max(), abs=1e-5)


def test_statistics_count_what_was_asked(client: Any, pictures: tuple[Array, Array]) -> None:
    [before] = client.get_inference_statistics("digits")["model_stats"]
    client.infer("digits", [image_of(pictures[0], binary=True)])
    [after] = client.get_inference_statistics("digits")["model_stats"]
    assert after["inference_count"] - before["inference_count"] == 8
    assert after["inference_stats"]["success"]["count"] > 0
    names = {entry["name"] for entry in client.get_inference_statistics()["model_stats"]}
    assert {"digits", "text-detect"} <= names


def test_log_settings(client: Any) -> None:
    assert client.get_log_settings()["log_info"] is True
    assert client.update_log_settings({"log_verbose_level": 1})["log_verbose_level"] == 1
    assert client.update_log_settings({"log_verbose_level": 0})["log_verbose_level"] == 0
    assert client.get_trace_settings()["trace_level"] == ["OFF"]


def test_errors_are_read_by_the_client(client: Any, pictures: tuple[Array, Array]) -> None:
    tensor = image_of(pictures[0], binary=True)
    with pytest.raises(utils.InferenceServerException, match="there is no model 'absent'"):
        client.infer("absent", [tensor])
    with pytest.raises(utils.InferenceServerException, match="output 'q' is not known"):
        client.infer("digits", [tensor], outputs=[triton.InferRequestedOutput("q")])
    flat = image_of(pictures[0].reshape(8, 64), binary=True)
    with pytest.raises(utils.InferenceServerException, match=r"expected \[-1, 1, 8, 8\]"):
        client.infer("digits", [flat])
