"""Made-up card payments, and a classifier of them: what `examples/drift.py` watches.

    amount   FP32 [N, 1]   euros
    age      FP32 [N, 1]   of the customer, in years; NaN where it is not known
    hour     FP32 [N, 1]   of the day, 0 to 23
    country  BYTES [N, 1]  of the card, as DE
      ->  label INT64 [N], 1 for fraud; probabilities FP32 [N, 2]

Trained with scikit-learn, with a fixed seed, and exported as plain ONNX operators. As a command it
writes `payments.onnx` and its training data, `train.csv`:

    python examples/payments.py DIRECTORY
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEED = 11
TRAINED_ON = 20_000
COUNTRIES = {"DE": 0.40, "FR": 0.25, "NL": 0.20, "PL": 0.10, "SE": 0.05}
# After the shop's release: it sells to Norway, too.
COUNTRIES_LATER = {"DE": 0.20, "FR": 0.15, "NL": 0.15, "PL": 0.10, "SE": 0.10, "NO": 0.30}
RISK = {"DE": -0.5, "FR": 0.2, "NL": -0.2, "PL": 0.8, "SE": -0.8, "NO": -0.8}
CENTS = 100.0
MEAN_AGE = 42.0

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Payments:
    """Columns of N rows; ``fraud``: what came out weeks later, [N] of 0 and 1."""

    amount: Floats
    age: Floats
    hour: Floats
    country: NDArray[np.object_]
    fraud: NDArray[np.int64]

    def inputs(self) -> dict[str, NDArray[np.generic]]:
        """The model's, each [N, 1]."""
        columns = {"amount": self.amount, "age": self.age, "hour": self.hour}
        named = {name: column.reshape(-1, 1) for name, column in columns.items()}
        return {**named, "country": self.country.reshape(-1, 1)}


def payments(rows: int, random: np.random.Generator, *, after_release: bool = False) -> Payments:
    """``after_release``: as a new release of the shop sends them. It gives amounts in cents, leaves
    the age out, and sells to Norway. Which payments are fraud follows the same rule."""
    shares = COUNTRIES_LATER if after_release else COUNTRIES
    euros = random.lognormal(3.6, 0.5, rows).round(2)
    age = random.normal(MEAN_AGE, 14, rows).clip(18, 95).round()
    hour = random.normal(15, 5, rows).round() % 24
    country = random.choice(list(shares), rows, p=list(shares.values()))
    risk = np.array([RISK[one] for one in country])
    logit = 3.0 * (np.log1p(euros) - 4.9) - 0.05 * (age - MEAN_AGE) + 1.5 * (hour < 6) + risk
    fraud = random.random(rows) < 1 / (1 + np.exp(-logit))
    return Payments(
        amount=(euros * CENTS if after_release else euros).astype(np.float32),
        age=(np.full(rows, np.nan) if after_release else age).astype(np.float32),
        hour=hour.astype(np.float32),
        country=country.astype(object),
        fraud=fraud.astype(np.int64),
    )


def terms(data: Payments) -> NDArray[np.float64]:
    """What the model's sum is made of: [N, 3 + countries]."""
    numbers = (np.log1p(data.amount), data.age, data.hour)
    return np.column_stack([*numbers, *(data.country == one for one in COUNTRIES)])


def train(data: Payments) -> tuple[NDArray[np.float64], float]:
    """Logistic regression: the coefficient of each term, and the intercept."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=2000).fit(terms(data), data.fraud)
    return model.coef_[0], float(model.intercept_[0])


def to_onnx(coefficients: NDArray[np.float64], intercept: float) -> bytes:
    """The regression with its terms. An age that is NaN counts as the mean one, and a country that
    the training data had not as none."""
    from onnx import TensorProto, checker, helper

    value = helper.make_tensor_value_info
    of_amount, of_age, of_hour, *of_country = (float(one) for one in coefficients)
    constants = {
        "one": 1.0,
        "mean_age": MEAN_AGE,
        "of_amount": of_amount,
        "of_age": of_age,
        "of_hour": of_hour,
        "intercept": intercept,
    }
    numbers = [value(name, TensorProto.FLOAT, ["rows", 1]) for name in ("amount", "age", "hour")]
    graph = helper.make_graph(
        nodes(of_country),
        "payments",
        [*numbers, value("country", TensorProto.STRING, ["rows", 1])],
        [
            value("label", TensorProto.INT64, ["rows"]),
            value("probabilities", TensorProto.FLOAT, ["rows", 2]),
        ],
        [helper.make_tensor(key, TensorProto.FLOAT, [1], [one]) for key, one in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def nodes(of_country: list[float]) -> list[Any]:
    """Of ``to_onnx``, in their order; what it calls constants are inputs of theirs."""
    from onnx.helper import make_node as node

    return [
        node("Add", ["amount", "one"], ["amount_1"]),
        node("Log", ["amount_1"], ["log_amount"]),
        node("IsNaN", ["age"], ["no_age"]),
        node("Where", ["no_age", "mean_age", "age"], ["known_age"]),
        node("Mul", ["log_amount", "of_amount"], ["by_amount"]),
        node("Mul", ["known_age", "of_age"], ["by_age"]),
        node("Mul", ["hour", "of_hour"], ["by_hour"]),
        node(
            *("LabelEncoder", ["country"], ["by_country"]),
            domain="ai.onnx.ml",
            keys_strings=list(COUNTRIES),
            values_floats=of_country,
            default_float=0.0,
        ),
        node("Sum", ["by_amount", "by_age", "by_hour", "by_country", "intercept"], ["logit"]),
        node("Sigmoid", ["logit"], ["fraud"]),
        node("Sub", ["one", "fraud"], ["no_fraud"]),
        node("Concat", ["no_fraud", "fraud"], ["probabilities"], axis=1),
        node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]


def write_csv(data: Payments, path: Path) -> None:
    """The features, under the names of the model's inputs."""
    names = [one.name for one in fields(data) if one.name != "fraud"]
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(names)
        columns = [getattr(data, name).tolist() for name in names]
        # As it was written, not as the nearest FP32 has it.
        columns[0] = [f"{one:.2f}" for one in columns[0]]
        lines.writerows(zip(*columns, strict=True))


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    data = payments(TRAINED_ON, np.random.default_rng(SEED))
    try:
        model = to_onnx(*train(data))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "payments.onnx").write_bytes(model)
        write_csv(data, folder / "train.csv")
    except ImportError as error:
        print(f"{error}: pip install scikit-learn onnx", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{folder}: {(error.strerror or str(error)).lower()}", file=sys.stderr)
        return 1
    share = data.fraud.mean()
    print(f"trained on {TRAINED_ON:,} payments, {share:.1%} of them fraud: {folder}/payments.onnx")
    return 0


if __name__ == "__main__":
    sys.exit(main())
