"""How an ONNX file is run, as its `model.yaml` says."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from app.errors import ConfigurationError
from models.repository.checksum import sha256_of
from models.repository.repository import ModelRepository
from models.repository.runtime_options import RuntimeOptions
from models.runtimes.onnx.quantize import deviation
from models.runtimes.onnx.runtime import OnnxModel
from models.runtimes.onnx.sessions import open_session
from tests.unit.models.files import as_they_lie
from tests.unit.models.onnx_files import dense, with_external_data

CPU = "CPUExecutionProvider"
WEIGHTS = np.random.default_rng(0).standard_normal((64, 64))
X = np.random.default_rng(1).standard_normal((3, 64)).astype(np.float32)


def loaded(directory: Path, text: str = "") -> OnnxModel:
    path = directory / "1" / "model.onnx"
    if not path.exists():
        dense(path, WEIGHTS)
    directory.mkdir(exist_ok=True)
    (directory / "model.yaml").write_text(text)
    model = OnnxModel(*as_they_lie(directory))
    model.load()
    return model


def answer(model: OnnxModel) -> list[list[float]]:
    answered: list[list[float]] = model.predict({"x": X})["y"].tolist()
    return answered


@pytest.mark.parametrize(
    "text",
    [
        *(f"optimization: {level}" for level in ("disable", "basic", "extended", "all")),
        "arena: false\nmemory_pattern: false",
        "providers: [CPUExecutionProvider]\nthreads: 2",
    ],
)
def test_no_option_changes_the_answer(tmp_path: Path, text: str) -> None:
    got = np.array(answer(loaded(tmp_path, text)))
    np.testing.assert_allclose(got, X @ WEIGHTS.astype(np.float32), rtol=1e-4, atol=1e-4)


def test_options_reach_the_session(tmp_path: Path) -> None:
    model = loaded(tmp_path, "optimization: basic\narena: false\nmemory_pattern: false\nthreads: 3")
    assert model._session is not None
    options = model._session.get_session_options()
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    assert (options.enable_cpu_mem_arena, options.enable_mem_pattern) == (False, False)
    assert options.intra_op_num_threads == 3


@pytest.mark.parametrize(
    ("text", "tiny", "worth_sharing", "threads", "instances"),
    [
        pytest.param("", 10.0, 0.0, 1, 1, id="tiny"),
        pytest.param("", 0.0, 1e9, 1, 4, id="as fast on one thread"),
        pytest.param("", 0.0, 0.0, 4, 1, id="faster on all"),
        pytest.param("threads: 3", 10.0, 1e9, 3, 1, id="threads are given"),
        pytest.param("instances: 2", 10.0, 1e9, 2, 2, id="instances are given"),
        pytest.param("instances: 8", 10.0, 1e9, 1, 8, id="more instances than threads"),
        pytest.param("threads: 3\ninstances: 2", 10.0, 1e9, 3, 2, id="both are given"),
    ],
)
def test_how_short_runs_share_the_processor(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    tiny: float,
    worth_sharing: float,
    threads: int,
    instances: int,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr("models.runtimes.onnx.runtime.TINY_SECONDS", tiny)
    monkeypatch.setattr("models.runtimes.onnx.runtime.WORTH_SHARING", worth_sharing)
    monkeypatch.setattr("models.runtimes.onnx.runtime.SHORT_SECONDS", 10.0)
    model = loaded(tmp_path, text)
    assert model._session is not None
    assert model._session.get_session_options().intra_op_num_threads == threads
    assert model.instances == instances
    assert model.spare_instances == (1 if not text and instances > 1 else 0)


def test_long_runs_are_shared_among_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr("models.runtimes.onnx.runtime.SHORT_SECONDS", 0.0)
    model = loaded(tmp_path)
    assert model._session is not None
    assert model._session.get_session_options().intra_op_num_threads == 4


def test_providers_that_are_not_there_are_passed_over(tmp_path: Path) -> None:
    model = loaded(tmp_path, "providers: [CUDAExecutionProvider, CPUExecutionProvider]")
    assert model.metadata.provider in onnxruntime.get_available_providers()
    with pytest.raises(ConfigurationError, match=r":1: providers: none of NoSuch is in this ONNX"):
        loaded(tmp_path, "providers: [NoSuch]")


@pytest.mark.parametrize("fails", ["open", "run"])
def test_a_provider_that_does_not_work_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: str
) -> None:
    real, session = open_session, onnxruntime.InferenceSession

    def available() -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    class Dead:
        """A session on a device that is gone."""

        def __getattr__(self, name: str) -> object:
            return getattr(session(str(tmp_path / "1" / "model.onnx")), name)

        def run(self, *_: object) -> None:
            raise RuntimeError("no device")

    def opened(path: Path, options: RuntimeOptions, provider: str) -> object:
        if provider == "CPUExecutionProvider":
            return real(path, options, provider)
        if fails == "open":
            raise ConfigurationError("no driver")
        return Dead()

    monkeypatch.setattr(onnxruntime, "get_available_providers", available)
    monkeypatch.setattr("models.runtimes.onnx.runtime.open_session", opened)
    model = loaded(tmp_path)
    assert model.metadata.provider == "CPUExecutionProvider"
    assert "CUDAExecutionProvider is not used: " in caplog.text
    assert len(answer(model)) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", {}),
        (
            "gpu_memory_limit_mb: 512",
            {"gpu_mem_limit": "512000000", "arena_extend_strategy": "kSameAsRequested"},
        ),
    ],
)
def test_a_limit_on_gpu_memory_reaches_the_cuda_provider_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: dict[str, str]
) -> None:
    session = onnxruntime.InferenceSession
    asked: list[object] = []

    def opened(path: str, options: object, providers: list[tuple[str, dict[str, str]]]) -> object:
        asked.append(providers)
        return session(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU]
    )
    loaded(tmp_path, text)
    assert asked[0] == [("CUDAExecutionProvider", told), (CPU, {})]
    assert all(each == [(CPU, {})] for each in asked[1:])


def test_a_rewritten_graph_is_kept_and_used(tmp_path: Path) -> None:
    text = f"optimized_graph_cache: {tmp_path / 'cache'}"
    first = loaded(tmp_path / "m", text)
    [kept] = (tmp_path / "cache").glob("*.onnx")
    digest = sha256_of(tmp_path / "m" / "1" / "model.onnx")
    assert kept.name.startswith(f"{digest}-{onnxruntime.__version__}-all-CPUExecutionProvider-")
    second = loaded(tmp_path / "m", text)
    assert second._session is not None
    assert second._session._model_path == str(kept)
    assert answer(second) == answer(first)
    assert second._session.get_modelmeta().custom_metadata_map["a"] == "b", "labels live here"
    kept.write_bytes(b"damaged")
    left = kept.with_name(f".{kept.name}.part")  # by a process that was killed: row 78
    left.write_bytes(b"half")
    assert answer(loaded(tmp_path / "m", text)) == answer(first)
    assert kept.stat().st_size > 100
    assert not left.exists()
    dense(tmp_path / "m" / "1" / "model.onnx", 2 * WEIGHTS)
    np.testing.assert_allclose(answer(loaded(tmp_path / "m", text)), 2 * np.array(answer(first)))
    assert len(list((tmp_path / "cache").glob("*.onnx"))) == 2


def test_a_graph_with_external_data_is_not_kept(tmp_path: Path) -> None:
    path = with_external_data(tmp_path / "m" / "1" / "model.onnx", "w.bin")
    np.ones(3, np.float32).tofile(path.parent / "w.bin")
    loaded(tmp_path / "m", f"optimized_graph_cache: {tmp_path / 'cache'}")
    assert not (tmp_path / "cache").exists()


def test_weights_in_8_bits_answer_nearly_the_same(tmp_path: Path) -> None:
    original = loaded(tmp_path).predict({"x": X})
    small = loaded(tmp_path, "quantize: dynamic_int8\nverify_batch: false")
    off = deviation(small.predict({"x": X}), original)
    assert 0 < off < 0.05


def test_weights_that_do_not_fit_8_bits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r":1: quantize: the answers deviate by"):
        loaded(tmp_path, "quantize: dynamic_int8\nmax_batch_size: 0\nquantize_tolerance: 0.0001")


def test_without_the_onnx_package_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense(tmp_path / "1" / "model.onnx", WEIGHTS)
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization", None)
    with pytest.raises(ConfigurationError, match=r"quantize: .*manta-server\[quantize\]"):
        loaded(tmp_path, "quantize: dynamic_int8")


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.5], [1.0, 2.0], 0.25),
        ([0.0], [0.0], 0.0),
        ([1.0], [0.0], float("inf")),
        ([float("nan")], [float("nan")], 0.0),
        ([float("nan")], [1.0], float("inf")),
        ([1.0], [1.0, 1.0], float("inf")),
    ],
)
def test_how_far_answers_deviate(left: list[float], right: list[float], expected: float) -> None:
    assert deviation({"y": np.array(left)}, {"y": np.array(right)}) == expected


def test_fault_083_another_file_than_the_one_that_was_meant(tmp_path: Path) -> None:
    path = dense(tmp_path / "m" / "1" / "model.onnx", WEIGHTS)
    (tmp_path / "m" / "model.yaml").write_text(f"sha256:\n  1: {sha256_of(path).upper()}\n")
    repository = ModelRepository([tmp_path])
    repository.load("m", "1")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ConfigurationError, match=r":2: sha256\.1: .*has another SHA-256"):
        repository.load("m", "1")


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = with_external_data(tmp_path / "m" / "1" / "model.onnx", "w.bin")
    (path.parent / "w.bin").write_bytes(bytes(1_000_001))
    ModelRepository([tmp_path], 2).load("m", "1")
    with pytest.raises(ConfigurationError, match=r"model\.onnx: has 1\.0 MB; max_model_size_mb"):
        ModelRepository([tmp_path], 1).load("m", "1")
