"""A model's route over the admin port: what it is, who changed it, and how requests are divided."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from serving.control.schemas import Reason, SplitInfo
from serving.model_config.route import LARGEST_WEIGHT, LONGEST_KEY, MOST_SHADOWS, MOST_WEIGHTS
from serving.models.commands.command import SetRoute
from serving.models.views import ModelView
from serving.operations import Form
from serving.rollout.route import Route, RouteChange

# The keys of a JSON object are texts.
_Version = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}$")]
_Weight = Annotated[int, Field(strict=True, ge=0, le=LARGEST_WEIGHT)]

_CopyShare = Annotated[float, Field(strict=True, gt=0, le=1)]


class RouteBody(Form):
    """What is left out stays as it is."""

    weights: Annotated[dict[_Version, _Weight], Field(max_length=MOST_WEIGHTS)] | None = Field(
        default=None,
        description="Version -> its weight, of the sum of all: how requests that name no version"
        " are divided. A version with the weight 0 is kept loaded and gets none. {}: nothing is"
        " divided any more.",
    )
    sticky: Annotated[str, Field(max_length=LONGEST_KEY)] | None = Field(
        default=None,
        description="The name of a header, a key of gRPC's metadata or a request's parameter: who"
        ' sends the same value gets the same version. "": none.',
    )
    shadows: Annotated[dict[_Version, _CopyShare], Field(max_length=MOST_SHADOWS)] | None = Field(
        default=None,
        description="Version -> the share of these requests, over 0 to 1, of which it runs a copy"
        " and answers nobody; its answers are compared with those given. {}: no version does.",
    )
    reason: Reason = ""

    def command(self, model: str) -> SetRoute:
        weights = shadows = None
        if self.weights is not None:
            weights = {int(version): weight for version, weight in self.weights.items()}
        if self.shadows is not None:
            shadows = {int(version): share for version, share in self.shadows.items()}
        return SetRoute(model, weights, self.sticky, shadows)


class RouteInfo(SplitInfo):
    name: str
    default: int | None = Field(description="The version that answers what is not divided.")
    pin: int | None = Field(description="The version that is to answer by command.")
    aliases: dict[str, int] = Field(description="Other names for versions.")


class RouteChangeInfo(Form):
    at: float = Field(description="Seconds since the epoch.")
    by: str = Field(description="Who or what changed it: an address, `rollout`, `yaml`, `mlflow`.")
    what: str
    reason: str = Field(description='Why, as they said; "": they did not.')


class RouteHistory(Form):
    name: str
    changes: list[RouteChangeInfo] = Field(
        description="Oldest first; only the last ones are kept, also across restarts."
    )


def split_json(view: ModelView) -> dict[str, Any]:
    split = view.split
    return {
        "weights": {str(version): weight for version, weight in split.weights.items()},
        "sticky": split.sticky,
        "shadows": {str(version): share for version, share in split.shadows.items()},
        "shares": {str(version): share for version, share in shares(view).items()},
    }


def route_json(view: ModelView) -> dict[str, Any]:
    route = Route(view.default, view.pinned, view.aliases, view.split)
    return {
        "name": view.name,
        "default": route.default,
        "pin": route.pin,
        "aliases": dict(sorted(route.aliases.items())),
        **split_json(view),
    }


def change_json(change: RouteChange) -> dict[str, Any]:
    return {"at": change.at, "by": change.by, "what": change.what, "reason": change.reason}


def shares(view: ModelView) -> dict[int, float]:
    """Version -> its part of the requests that name none, as they are divided now."""
    place, found = view.route, dict[int, float]()
    if place.default is None:
        return found
    weights = place.weights or ((place.default, 1),)
    total = sum(weight for _, weight in weights)
    for version, weight in weights:
        who = version if version in place.queues else place.default
        found[who] = found.get(who, 0.0) + weight / total
    return {version: round(share, 6) for version, share in sorted(found.items())}
