"""scikit-learn's estimators through skl2onnx, without ZipMap: each row is one sample."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx

from .build import Entry, Feeds, f32, rng

SKLEARN = "scikit-learn"
Builder = Callable[[], onnx.ModelProto]
entries: list[Entry] = []


@cache
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """60 samples of 4 features, their classes 0..2, their targets."""
    x = rng(7).normal(size=(60, 4)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0), x[:, 0] - 2 * x[:, 2]


def some(rows: int, seed: int) -> Feeds:
    return {"x": f32(rng(seed).normal(size=(rows, 4)))}


def converted(
    estimator: Any,
    types: list[tuple[str, Any]],
    zipmap: bool,
    options: dict[int, dict[str, Any]] | None = None,
) -> onnx.ModelProto:
    from skl2onnx import convert_sklearn

    options = ({id(estimator): {"zipmap": False}} if zipmap else {}) | (options or {})
    return convert_sklearn(estimator, initial_types=types, options=options, target_opset=17)


def floats() -> list[tuple[str, Any]]:
    from skl2onnx.common.data_types import FloatTensorType

    return [("x", FloatTensorType([None, 4]))]


def keep(name: str, build: Builder, a: Feeds, b: Feeds) -> None:
    entries.append(Entry(f"sklearn {name}", SKLEARN, build, a, b))


def learner(name: str, make: Callable[[], Any], target: int = 1, zipmap: bool = True) -> None:
    """``target`` 1 learns the classes, 2 the numbers; without one it only looks at x."""

    def build() -> onnx.ModelProto:
        estimator = make().fit(data()[0], data()[target])
        return converted(estimator, floats(), zipmap)

    keep(name, build, some(2, 1), some(1, 2))


def classifier(name: str, make: Callable[[], Any]) -> None:
    learner(name, make)


def regressor(name: str, make: Callable[[], Any]) -> None:
    learner(name, make, target=2, zipmap=False)


def transformer(name: str, make: Callable[[], Any]) -> None:
    learner(name, make, zipmap=False)


def of(module: str, name: str, **more: Any) -> Any:
    """``sklearn.<module>.<name>(...)``, imported when it is made."""
    from importlib import import_module

    return getattr(import_module(f"sklearn.{module}"), name)(**more)


def scaled(estimator: Any) -> Any:
    from sklearn.pipeline import make_pipeline

    return make_pipeline(of("preprocessing", "StandardScaler"), estimator)


def voting() -> Any:
    members = [
        ("tree", trees("DecisionTreeClassifier")),
        ("bayes", of("naive_bayes", "GaussianNB")),
    ]
    return of("ensemble", "VotingClassifier", estimators=members, flatten_transform=False)


def trees(name: str) -> Any:
    return of("tree", name, max_depth=3, random_state=0)


def forest(name: str) -> Any:
    return of("ensemble", name, n_estimators=5, max_depth=3, random_state=0)


classifier("LogisticRegression", lambda: of("linear_model", "LogisticRegression"))
classifier("scaled LogisticRegression", lambda: scaled(of("linear_model", "LogisticRegression")))
classifier("DecisionTreeClassifier", lambda: trees("DecisionTreeClassifier"))
classifier("RandomForestClassifier", lambda: forest("RandomForestClassifier"))
classifier("GradientBoostingClassifier", lambda: forest("GradientBoostingClassifier"))
classifier("SVC", lambda: of("svm", "SVC"))
learner("LinearSVC", lambda: of("svm", "LinearSVC"), zipmap=False)
classifier("GaussianNB", lambda: of("naive_bayes", "GaussianNB"))
classifier("KNeighborsClassifier", lambda: of("neighbors", "KNeighborsClassifier", n_neighbors=3))
classifier(
    "MLPClassifier",
    lambda: of("neural_network", "MLPClassifier", hidden_layer_sizes=(5,), tol=0.1),
)
classifier(
    "LinearDiscriminantAnalysis", lambda: of("discriminant_analysis", "LinearDiscriminantAnalysis")
)
classifier("VotingClassifier", voting)
regressor("Ridge", lambda: of("linear_model", "Ridge"))
regressor("SVR", lambda: scaled(of("svm", "SVR")))
regressor("ExtraTreesRegressor", lambda: forest("ExtraTreesRegressor"))
regressor(
    "HistGradientBoostingRegressor",
    lambda: of("ensemble", "HistGradientBoostingRegressor", max_iter=5),
)
regressor("KNeighborsRegressor", lambda: of("neighbors", "KNeighborsRegressor", n_neighbors=3))
regressor("GaussianProcessRegressor", lambda: of("gaussian_process", "GaussianProcessRegressor"))
transformer("KMeans", lambda: of("cluster", "KMeans", n_clusters=3, n_init=1, random_state=0))
transformer("PCA", lambda: scaled(of("decomposition", "PCA", n_components=2)))
transformer("PolynomialFeatures", lambda: of("preprocessing", "PolynomialFeatures", degree=2))


def by_column() -> onnx.ModelProto:
    """A ColumnTransformer over numbers and words, two inputs, before a classifier."""
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.pipeline import make_pipeline

    x, classes, _ = data()
    words = np.array(["cat", "dog", "cow"], object)[classes].reshape(-1, 1)
    table = np.concatenate([x[:, :2].astype(object), words], axis=1)
    parts = [
        ("numbers", of("preprocessing", "StandardScaler"), [0, 1]),
        ("words", of("preprocessing", "OneHotEncoder", handle_unknown="ignore"), [2]),
    ]
    columns = of("compose", "ColumnTransformer", transformers=parts)
    pipeline = make_pipeline(columns, of("linear_model", "LogisticRegression"))
    pipeline.fit(table, classes)
    types = [("x", FloatTensorType([None, 2])), ("w", StringTensorType([None, 1]))]
    return converted(pipeline, types, zipmap=True)


def table(rows: int, seed: int) -> Feeds:
    words = np.array([["cat"], ["cow"], ["owl"]], object)[:rows]
    return {"x": f32(rng(seed).normal(size=(rows, 2))), "w": words}


keep("ColumnTransformer of numbers and words", by_column, table(3, 1), table(1, 2))

TEXTS = ["a red house", "the blue sea", "red and blue", "a house by the sea"]


def of_texts(vectorizer: str) -> Builder:
    def build() -> onnx.ModelProto:
        from skl2onnx.common.data_types import StringTensorType
        from sklearn.pipeline import make_pipeline

        made = of("feature_extraction.text", vectorizer, token_pattern="[a-z]+")
        pipeline = make_pipeline(made, of("linear_model", "LogisticRegression"))
        pipeline.fit(TEXTS, [0, 1, 1, 0])
        # The default locale, en_US.UTF-8, is not on every machine.
        plain = {id(made): {"locale": "C"}}
        types = [("x", StringTensorType([None, 1]))]
        return converted(pipeline, types, zipmap=True, options=plain)

    return build


def texts(*some: str) -> Feeds:
    return {"x": np.array([[one] for one in some], object)}


for vectorizer in ("TfidfVectorizer", "CountVectorizer"):
    short, long = texts("red", "the sea"), texts("a red house by the blue blue sea")
    keep(f"{vectorizer} and LogisticRegression", of_texts(vectorizer), short, long)
