"""No answer depends on whose requests came at the same time: models are real ONNX files."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from app.types import Array, InferenceRequest
from models.repository.repository import ModelRepository
from models.serving.service import LocalModelService
from tests.unit.models.coupled_files import (
    COUPLED,
    INDEPENDENT,
    Writer,
    centred,
    dense,
    loudest,
    noisy,
    running_sum,
)

CLIENTS = 32


async def loaded(
    directory: Path, write: Writer, says: str = "", before: Callable[[], None] = lambda: None
) -> LocalModelService:
    write(directory / "m" / "1" / "model.onnx")
    if says:
        (directory / "m" / "model.yaml").write_text(says)
    before()
    service = LocalModelService(ModelRepository([directory]), "m")
    await service.load()
    return service


def requests_to(path: Path) -> list[Array]:
    """Of one row each, some a thousand times larger than others."""
    given = ort.InferenceSession(path).get_inputs()[0]
    shape = (1, *(size if isinstance(size, int) else 4 for size in given.shape[1:]))
    random = np.random.default_rng(11)
    if given.type == "tensor(int64)":
        return [random.integers(1, 8, shape) for _ in range(CLIENTS)]
    scales = (1.0, 1000.0, 0.01)
    return [
        (random.standard_normal(shape) * scales[number % 3]).astype(np.float32)
        for number in range(CLIENTS)
    ]


async def answers(service: LocalModelService, rows: list[Array]) -> list[Array]:
    asked = (service.infer(InferenceRequest("m", {"x": row})) for row in rows)
    return [response.outputs["y"] for response in await asyncio.gather(*asked)]


@pytest.mark.parametrize("write", [*COUPLED, *INDEPENDENT], ids=lambda write: write.__name__)
async def test_fault_151_every_answer_is_as_alone(tmp_path: Path, write: Writer) -> None:
    service = await loaded(tmp_path, write)
    path = tmp_path / "m" / "1" / "model.onnx"
    rows = requests_to(path)
    bare = ort.InferenceSession(path)
    for row, answer in zip(rows, await answers(service, rows), strict=True):
        assert answer.dtype == np.float32
        np.testing.assert_allclose(
            np.asarray(answer, np.float32), bare.run(None, {"x": row})[0], rtol=1e-4, atol=1e-5
        )
    await service.close()


@pytest.mark.parametrize("write", COUPLED, ids=lambda write: write.__name__)
async def test_fault_151_coupled_rows_are_not_stacked_and_it_is_said(
    tmp_path: Path, write: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    service = await loaded(tmp_path, write)
    assert (await service.metadata()).max_batch_size == 0
    reason = "requests are not stacked: its "
    assert str(service.status()["reason"]).startswith(reason)
    assert service.states()[0].state == "READY"
    assert service.states()[0].reason.startswith(reason)
    assert "requests to model 'm' are not stacked: its " in caplog.text
    await service.close()


@pytest.mark.parametrize("write", INDEPENDENT, ids=lambda write: write.__name__)
async def test_independent_rows_are_stacked(tmp_path: Path, write: Writer) -> None:
    service = await loaded(tmp_path, write)
    assert (await service.metadata()).max_batch_size == 32
    assert service.status()["reason"] == ""
    await service.close()


async def test_what_is_never_answered_the_same_twice_is_not_stacked(tmp_path: Path) -> None:
    service = await loaded(tmp_path, noisy)
    assert (await service.metadata()).max_batch_size == 0
    assert "the same row alone is answered otherwise" in str(service.status()["reason"])
    await service.close()


async def test_fault_152_a_declared_batch_that_is_refuted_is_an_error_with_the_row(
    tmp_path: Path,
) -> None:
    service = await loaded(tmp_path, loudest, "max_batch_size: 8\n")
    assert service.state == "failed"
    assert "model.yaml:1: max_batch_size: must be 0: its rows are not independent: row" in (
        service.reason
    )
    assert "'y' being 0.0 instead of" in service.reason
    assert "verify_batch: false" in service.reason


async def test_a_declared_batch_is_trusted_where_it_says_so(tmp_path: Path) -> None:
    says = "max_batch_size: 8\nverify_batch: false\n"
    service = await loaded(tmp_path, centred, says)
    assert (await service.metadata()).max_batch_size == 8
    await service.close()


async def test_what_was_found_out_is_kept_under_the_content_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANTA_ARTEFACT_CACHE", str(tmp_path / "cache"))
    probed: list[int] = []

    def watch(*_: object) -> None:
        probed.append(1)

    first = await loaded(tmp_path / "a", dense)
    coupled = await loaded(tmp_path / "b", running_sum)
    assert len(list((tmp_path / "cache" / "rows").iterdir())) == 2
    monkeypatch.setattr("models.serving.loading.check_rows", watch)
    (tmp_path / "c" / "m" / "1").mkdir(parents=True)
    again = await loaded(tmp_path / "c", running_sum)
    assert (probed, (await again.metadata()).max_batch_size) == ([], 0)
    other = await loaded(tmp_path / "d", centred)
    assert probed == [1]
    for service in (first, coupled, again, other):
        await service.close()


async def test_a_cache_that_cannot_be_written_or_read_is_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("MANTA_ARTEFACT_CACHE", str(tmp_path / "cache"))
    service = await loaded(tmp_path, dense)
    assert (await service.metadata()).max_batch_size == 32
    await service.close()


async def test_a_user_without_a_home_has_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANTA_ARTEFACT_CACHE", "~nobody-of-this-name/cache")
    service = await loaded(tmp_path, dense)
    assert (await service.metadata()).max_batch_size == 32
    await service.close()
