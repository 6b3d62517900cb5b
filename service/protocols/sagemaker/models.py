"""Which model an invocation means: SageMaker's containers serve one, and here there may be several."""

from __future__ import annotations

from starlette.requests import Request

from service.errors import InputMismatch, ModelNotFound
from service.models.model import Model
from service.protocols.context import Context
from service.protocols.model_names import find_model
from service.settings import variable

TARGET_MODEL = "X-Amzn-SageMaker-Target-Model"
_ANY = "auto"


def named_model(request: Request, named: str | None) -> str | None:
    """The model that a request names, in its header or else in its body."""
    return request.headers.get(TARGET_MODEL) or named


def chosen_model(request: Request, context: Context, named: str | None) -> Model:
    """The model that the header names, else the body, else the setting, else the only forecaster.

    Raises:
        ModelNotFound: there is none by that name, or no forecaster at all.
        InputMismatch: none is named, and several could be meant.
    """
    repository = context.service.repository
    setting = context.settings.invocations_model
    reference = named_model(request, named) or (None if setting == _ANY else setting)
    if reference is not None:
        return find_model(repository, reference)
    # The newest version of each comes last.
    forecasters = {model.manifest.name: model for model in repository.models() if model.manifest.forecast is not None}
    if not forecasters:
        raise ModelNotFound("model: no forecaster is loaded", parameter="model")
    if len(forecasters) > 1:
        raise InputMismatch(
            f"model: several forecasters are served ({', '.join(forecasters)}): name one in the header "
            f"{TARGET_MODEL}, as model in the body, or in {variable('invocations_model')}",
            parameter="model",
        )
    (model,) = forecasters.values()
    return model
