"""Writing back as the settings have it."""

from __future__ import annotations

from functools import partial

from serving.delivery.controller import Rollouts
from serving.models.manager import Manager
from serving.registry.mlflow.asked import tag_rules
from serving.registry.mlflow.opening import FollowedRegistry
from serving.registry.mlflow.writing import MlflowWriter
from serving.settings import Settings
from serving.state_dir import StateDir
from serving.write_back.book import Book
from serving.write_back.kept import Kept
from serving.write_back.terms import terms_of
from serving.write_back.writer import Registry, WriteBack


def open_write_back(
    settings: Settings,
    followed: FollowedRegistry | None,
    state: StateDir,
    manager: Manager,
    rollouts: Rollouts,
) -> WriteBack | None:
    """None where no model of MLflow's registry is followed, or nothing is to be written. Raises
    ConfigError."""
    own = settings.registry.mlflow
    terms = terms_of(own.write_back, tag_rules(own.tags, "registry.mlflow.tags"))
    if followed is None or not (terms.of_promotions or terms.verdicts):
        return None
    look = followed.look
    registry = Registry(
        followed.uri,
        partial(MlflowWriter, settings),
        look.registered,
        look.named,
        followed.source.hint,
    )
    book = Book(Kept(state, followed.uri), terms)
    write_back = WriteBack(registry, terms, book, manager.view)
    rollouts.listen(write_back.on_rollout)
    manager.on_change(write_back.on_change)
    manager.on_verdict(write_back.on_verdict)
    return write_back
