"""Requests that a TensorFlow Serving has logged, to warm a version up: a TFRecord file of
``PredictionLog`` beside the model, as TensorFlow Serving reads it itself."""

from __future__ import annotations

from pathlib import Path

from serving.errors import LoadError
from serving.loading.inputs.generated import Feeds
from serving.model_config.schema import SignatureConfig
from serving.model_config.signatures import fitted, for_core
from serving.signature import Signature, Tensor
from serving.user_files import LinkOutError, TooLargeError, read_inside

FILE = Path("assets.extra", "tf_serving_warmup_requests")
# As many as TensorFlow Serving takes.
MAX_RECORDS = 1000


def is_there(version: Path) -> bool:
    """Whether the folder of a version has anything in the file's place that ``read`` would try to
    read, or refuse: a link, also to nothing, or a pipe, too."""
    try:
        (version / FILE).lstat()
    except FileNotFoundError:
        folder = version / FILE.parent
        return folder.is_symlink() and not folder.exists()
    except OSError:
        return True
    return True


def read(
    version: Path,
    signature: Signature,
    signatures: tuple[SignatureConfig, ...],
    most_bytes: int,
    most_texts: int,
) -> list[Feeds | str]:
    """Of each record of the file in the folder of a version its inputs, or the name of a log of a
    call that there is not here; none without a file. ``most_bytes``: of the file, and of all
    inputs together; ``most_texts``: string elements of one input.

    Raises LoadError naming the record that is damaged, or no request that this model answers; and
    for a file that cannot be read, which may pass.
    """
    if not is_there(version):
        return []
    try:
        content = _content(version, most_bytes)
    except TooLargeError:
        raise LoadError(f"{FILE} has more than {most_bytes} bytes") from None
    except FileNotFoundError as error:
        words = f"{FILE} is a link to nothing, or has just been removed"
        raise LoadError.after(error, words, str(error)) from error
    except OSError as error:
        words = f"{FILE} cannot be read: {(error.strerror or 'error').lower()}"
        raise LoadError.after(error, words, str(error)) from error
    from serving import _core

    def spec(tensor: Tensor) -> _core.TensorSpec:
        return _core.TensorSpec(
            tensor.name, tensor.datatype, tensor.shape, tensor.optional, tensor.described
        )

    try:
        return [
            one if isinstance(one, str) else dict(one)
            for one in _core.warmup_records(
                content,
                [spec(tensor) for tensor in signature.inputs],
                [spec(tensor) for tensor in signature.outputs],
                for_core(fitted(signatures, signature)),
                max_records=MAX_RECORDS,
                max_bytes=most_bytes,
                max_string_elements=most_texts,
            )
        ]
    except ValueError as error:
        raise LoadError(f"{FILE}: {error}") from None


def _content(version: Path, most_bytes: int) -> bytes:
    try:
        return read_inside(version, FILE, most_bytes)
    except LinkOutError:
        raise LoadError(f"{FILE} is a link that leaves the version's folder") from None
