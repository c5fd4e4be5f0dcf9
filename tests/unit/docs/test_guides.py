"""The hand-written guides leave out no field of the files that they explain."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from app.api.codec.shared_memory import SharedMemoryConfig
from app.api.grpc.config import GrpcConfig
from app.config.pipelines import GatewayConfig, PipelineConfig, PipelinesConfig
from deployments.args import GatewayArgs, ModelArgs, StreamsArgs
from models.repository.model_yaml import ModelFile
from tools.reference import GUIDES

EXPLAINED: dict[str, tuple[type[BaseModel], ...]] = {
    "configuration.md": (
        GatewayArgs,
        GatewayConfig,
        GrpcConfig,
        ModelArgs,
        PipelineConfig,
        PipelinesConfig,
        SharedMemoryConfig,
        StreamsArgs,
    ),
    "models.md": (ModelFile,),
}


def fields() -> Iterator[tuple[str, str]]:
    for page, models in EXPLAINED.items():
        for name in {name for model in models for name in model.model_fields}:
            yield page, name


@pytest.mark.parametrize(("page", "field"), sorted(fields()))
def test_a_field_is_explained(page: str, field: str) -> None:
    text = (GUIDES / page).read_text(encoding="utf-8")
    assert f"`{field}`" in text or f"\n{field}:" in text
