"""A model's own configuration: ``config.pbtxt`` (Triton's keys) or ``model.yaml``."""

from serving.model_config.fit import fit_signature
from serving.model_config.load import CONFIG_FILES, load_model_config
from serving.model_config.schema import (
    ModelConfig,
    RequestLogConfig,
    SessionOptions,
    TensorConfig,
    Tolerance,
    VersionPolicy,
    WarmupInput,
    WarmupSample,
)
from serving.model_config.triton_form import message_to_json_dict, triton_config

__all__ = [
    "CONFIG_FILES",
    "ModelConfig",
    "RequestLogConfig",
    "SessionOptions",
    "TensorConfig",
    "Tolerance",
    "VersionPolicy",
    "WarmupInput",
    "WarmupSample",
    "fit_signature",
    "load_model_config",
    "message_to_json_dict",
    "triton_config",
]
