"""MLServer's side: a custom runtime, as its documentation describes one."""

from pathlib import Path

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.session import SingleInputModel


class OnnxRuntime(MLModel):  # type: ignore[misc]  # the package is not in this environment
    async def load(self) -> bool:
        self._model = SingleInputModel(Path(self.settings.parameters.uri))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        batch = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        answer = NumpyCodec.encode_output(self._model.output, self._model.run(batch))
        return InferenceResponse(model_name=self.name, outputs=[answer])
