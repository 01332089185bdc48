"""The sections of settings for where versions come from, and what is written back there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from serving.settings.sections import Address, Count, Seconds, SecondsOrZero, Section, Words

# As MLflow has them.
_LONGEST_KEY, _LONGEST_VALUE = 250, 5000
# What is written of one promotion, and kept until it is.
MOST_TAGS = 100
_ALIAS = re.compile(r"[\w-]{1,255}")
_NUMBER = re.compile(r"v\d+", re.IGNORECASE)


def _checked_alias(alias: str) -> str:
    fit = _ALIAS.fullmatch(alias) and not _NUMBER.fullmatch(alias) and alias.lower() != "latest"
    if alias and not fit:
        raise ValueError(f"'{alias[:64]}' can't be an alias in MLflow's registry")
    return alias


def _checked_tags(words: tuple[str, ...]) -> tuple[str, ...]:
    if len(words) > MOST_TAGS:
        raise ValueError(f"{len(words)} tags: at most {MOST_TAGS} are written")
    for word in words:
        key, equals, value = word.partition("=")
        if not (equals and key.strip()):
            raise ValueError(f"'{word[:64]}': expected KEY=VALUE")
        if len(key) > _LONGEST_KEY or len(value) > _LONGEST_VALUE:
            raise ValueError(f"'{word[:64]}': longer than a tag may be")
    return words


def _checked_key(key: str) -> str:
    if len(key) > _LONGEST_KEY or key != key.strip():
        raise ValueError("a tag's key is a short text without spaces around it")
    return key


class WriteBackSettings(Section):
    alias: Annotated[str, AfterValidator(_checked_alias)] = Field(
        default="",
        description="On a rollout's promotion have MLflow's registry name the promoted version by"
        " this alias, and on a rollback the one that it named before; empty: no alias is moved.",
    )
    tags: Annotated[Words, AfterValidator(_checked_tags)] = Field(
        default=(),
        description="Tags that a promoted version gets there, `KEY=VALUE`, at most 100; a rollback"
        " sets them back.",
    )
    verdicts: bool = Field(
        default=True,
        description="Write what gates say of a version there: a tag, and figures as metrics of the"
        " version's run.",
    )
    verdict_tag: Annotated[str, AfterValidator(_checked_key)] = Field(
        default="validation_status",
        description="That tag's key, with the value `BLESSED` or `NOT_BLESSED`; empty: no tag.",
    )


class MlflowRegistrySettings(Section):
    models: Words = Field(
        default=(),
        description="Models of MLflow's registry to be served: `NAME`, the newest version answers;"
        " `NAME@ALIAS`, what the alias names does; `NAME/VERSION`, that one does.",
    )
    uri: Address = Field(
        default="",
        description="MLflow's server; empty: that of `tracking.mlflow.uri`. May hold"
        " `user:password@`, which is not shown.",
    )
    token: SecretStr = Field(
        default=SecretStr(""),
        description="Sent to it as `Authorization: Bearer`; never shown. Empty, and no server named"
        " here: that of `tracking.mlflow.token`.",
    )
    tags: Words = Field(
        default=(),
        description="Only versions are taken whose tags pass all of these: `KEY=VALUE`,"
        " `KEY!=VALUE`, `KEY` (it is there), `!KEY` (it is not).",
    )
    poll_s: Annotated[Seconds, Field(ge=0.2)] = Field(
        default=5.0, description="Between two looks at the registry (seconds)."
    )
    timeout_s: Seconds = Field(
        default=5.0,
        description="For an answer of the server, and for each pause of a download (seconds).",
    )
    webhook_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Of the webhook in MLflow that calls the admin port; never shown. Without one"
        " only processes of this machine are believed.",
    )
    write_back: WriteBackSettings = WriteBackSettings()


class RegistrySettings(Section):
    settle_s: SecondsOrZero = Field(
        default=3.0,
        description="A version counts as whole when nothing changed for so long (seconds).",
    )
    scan_interval_s: Seconds = Field(
        default=1.0, description="Between two looks at the model directories (seconds)."
    )
    watch: bool = Field(default=True, description="Look at once when the system reports a change.")
    follow_symlinks: bool = Field(
        default=False,
        description="Take model and version folders that are symbolic links (Kubernetes"
        " volumes, git-sync).",
    )
    stores: Words = Field(
        default=(),
        description="Object stores with models, laid out as directories are: `s3://BUCKET/PATH`,"
        " `gs://`, `az://`, `http(s)://` (WebDAV), `file:///PATH`.",
    )
    store_poll_s: Annotated[Seconds, Field(ge=0.2)] = Field(
        default=10.0, description="Between two looks at an object store (seconds)."
    )
    store_timeout_s: Seconds = Field(
        default=30.0, description="For each answer of an object store (seconds)."
    )
    configs: Path | None = Field(
        default=None,
        description="Folder with the configurations of models of MLflow's registry:"
        " `NAME/model.yaml` or `NAME/config.pbtxt`.",
    )
    cache_bytes: Count = Field(
        default=10 * 1024**3,
        description="Files of versions that came from elsewhere, kept in the state directory; what"
        " is loaded always stays (bytes).",
    )
    mlflow: MlflowRegistrySettings = MlflowRegistrySettings()
