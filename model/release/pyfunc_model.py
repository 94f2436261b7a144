"""What MLflow runs: the entry point that it stores as source and executes on `mlflow.pyfunc.load_model`.

Belongs here: MLflow's interface to a `VideoService`, and nothing more. Not here: requests and their limits (`service`). MLflow
copies this file next to the package `model`, so it imports that package by name and itself is imported by nobody.

MLflow's server repeats in its errors whatever it was sent, photos and all, and adds a traceback to those that are not MLflow's.
Hence what is wrong with a request travels past its validation (`AskedVideo.wrong`), and an error writes its answer itself.
"""

import json
import os
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import ERROR_CODE_TO_HTTP_STATUS, HTTP_STATUS_TO_ERROR_CODE, MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext
from pydantic import Field, model_validator

from model.release.drawing_settings import DrawingSettings
from model.release.pipeline import load
from model.release.service import (
    RequestWrong,
    ServiceError,
    ServiceLimits,
    VideoAnswer,
    VideoRequest,
    VideoService,
    parse_request,
)

_SERVERS_TIMEOUT = "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT"
"""Set in the processes of MLflow's server: after so many seconds it answers by itself, and what still draws holds up the rest."""


class AskedVideo(VideoRequest):
    """A request as it arrived, right or wrong."""

    wrong: str = Field("", description="left empty: why the other fields cannot be read")

    @model_validator(mode="before")
    @classmethod
    def _tell_what_is_wrong(cls, told: Any) -> Any:
        try:
            parse_request({name: value for name, value in told.items() if name != "wrong"})
        except RequestWrong as error:
            return {"prompt": "", "wrong": str(error)}
        return told


class Refusal(MlflowException):
    """One line, as MLflow's server sends it."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(str(error))
        self.line = str(error)
        self.error_code = HTTP_STATUS_TO_ERROR_CODE[error.status]

    def get_http_status_code(self) -> int:
        return int(ERROR_CODE_TO_HTTP_STATUS[self.error_code])

    def serialize_as_json(self) -> str:
        return json.dumps({"error_code": self.error_code, "message": self.line})


class LafidModel(PythonModel):
    """`service.VideoService` behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Called by MLflow once, with the paths of the artifacts that `package` logged."""
        configured = {name: value for name, value in context.model_config.items() if value != ""}
        base = context.artifacts.get("base") or configured.pop("base_dir", None)
        if not base:
            raise ValueError("the model's base does not travel with it: load it with model_config={'base_dir': its folder}")
        configured.pop("base_dir", None)
        limits = {name: configured.pop(name) for name in ServiceLimits.model_fields if name in configured}
        if told := os.environ.get(_SERVERS_TIMEOUT):
            limits["timeout_s"] = min(float(told), limits.get("timeout_s", float(told)))
        pipeline = load(Path(context.artifacts["checkpoint"]), Path(base), DrawingSettings.of(configured))
        self.service = VideoService(pipeline, ServiceLimits(**limits))

    def predict(
        self, context: PythonModelContext, model_input: list[AskedVideo], params: dict[str, Any] | None = None
    ) -> list[VideoAnswer]:
        """One answer a request, in order."""
        try:
            for number, asked in enumerate(model_input):
                if asked.wrong:
                    raise RequestWrong(f"request {number}: {asked.wrong}")
            return self.service.draw(model_input)
        except ServiceError as error:
            raise Refusal(error) from None


mlflow.models.set_model(LafidModel())
