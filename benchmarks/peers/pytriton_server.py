"""Triton's side, through pytriton: its core in C++, the model as a Python callable.

python -m benchmarks.peers.pytriton_server --repository DIR --port N --grpc-port N
    --metrics-port N
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig, TritonSecurityConfig

from benchmarks.peers.session import SingleInputModel, models_below

MAX_BATCH_SIZE = 16


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repository", type=Path, required=True)
    for option in ("--port", "--grpc-port", "--metrics-port"):
        parser.add_argument(option, type=int, required=True)
    arguments = parser.parse_args()
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=arguments.port,
        grpc_address="127.0.0.1",
        grpc_port=arguments.grpc_port,
        metrics_port=arguments.metrics_port,
        exit_timeout_secs=5,
    )
    # Its statistics, which perf_analyzer reads, are behind a token by default.
    open_to_all = TritonSecurityConfig(restricted_endpoints=[])
    with Triton(config=config, security_config=open_to_all) as triton:
        for name, model in models_below(arguments.repository).items():
            triton.bind(
                model_name=name,
                infer_func=_callable(model),
                inputs=[Tensor(name=model.input, dtype=model.dtype.type, shape=model.shape)],
                outputs=[Tensor(name=model.output, dtype=np.float32, shape=model.output_shape)],
                # A delay of 0 is pytriton's default: a batch is what waits when the model is free.
                config=ModelConfig(
                    max_batch_size=MAX_BATCH_SIZE,
                    batcher=DynamicBatcher(max_queue_delay_microseconds=0),
                ),
            )
        triton.serve()


def _callable(model: SingleInputModel) -> Any:
    @batch  # type: ignore[untyped-decorator]  # the package is not in this environment
    def infer(**inputs: Any) -> dict[str, Any]:
        return {model.output: model.run(inputs[model.input])}

    return infer


if __name__ == "__main__":
    main()
