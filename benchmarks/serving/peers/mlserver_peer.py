"""MLServer: the Open Inference Protocol's JSON; its HTTP server has no binary tensors.

It runs in a separate environment, because it needs older libraries than Tandem.
"""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.serving.peers.model import Model


class Peer(MLModel):  # type: ignore[misc]
    """The same model behind MLServer's types."""

    async def load(self) -> bool:
        """Load the model."""
        self._model = Model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One tensor in, one out."""
        try:
            images = self._model.from_array(NumpyCodec.decode_input(payload.inputs[0]))
        except ValueError as error:
            raise InferenceError(str(error)) from error
        output = NumpyCodec.encode_output("probabilities", self._model.run(images))
        return InferenceResponse(model_name=self.name, outputs=[output])
