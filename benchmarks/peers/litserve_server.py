"""LitServe's side: one LitAPI for each model, one worker each.

python -m benchmarks.peers.litserve_server --repository DIR --port N [--batch N]
"""

import argparse
import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import litserve
import numpy as np
from fastapi import Request

from benchmarks.peers.session import SingleInputModel


class OnnxApi(litserve.LitAPI):  # type: ignore[misc]  # the package is not in this environment
    def __init__(self, file: Path, **options: Any) -> None:
        super().__init__(**options)
        self._file = file

    def setup(self, device: str) -> None:  # noqa: ARG002 - the interface of LitAPI
        self._model = SingleInputModel(self._file)

    def decode_request(self, request: Request) -> Any:
        """The protocol's JSON, or the tensor's bytes in base64.

        LitServe reads the annotation as "parse the body as its content type says", and passes what
        it parsed.
        """
        if "tensor" in request:
            return self._model.decode_raw(base64.b64decode(request["tensor"]))
        return self._model.decode_json(request)

    def batch(self, inputs: Sequence[Any]) -> Any:
        return np.concatenate(inputs)

    def unbatch(self, output: Any) -> Any:
        return [output[index : index + 1] for index in range(len(output))]

    def predict(self, x: Any) -> Any:
        return self._model.run(x)

    def encode_response(self, output: Any) -> dict[str, Any]:
        return self._model.encode_json(output)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--batch", type=int, default=1)
    arguments = parser.parse_args()
    apis = [
        OnnxApi(
            file,
            max_batch_size=arguments.batch,
            batch_timeout=0.001 if arguments.batch > 1 else 0.0,
            api_path=f"/v2/models/{file.parts[-3]}/infer",
        )
        for file in sorted(arguments.repository.glob("*/1/model.onnx"))
    ]
    # The queue over ZeroMQ is what LitServe's documentation advises for high request rates.
    server = litserve.LitServer(apis, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=arguments.port,
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )


if __name__ == "__main__":
    main()
