"""Makes ``tfdv_vectors.json``: what TensorFlow Data Validation 1.16.1 says to ``cases.py``.

Its compiled part alone is enough, and has no need of TensorFlow:

    .venv/bin/python -m tests.unit.validation.tfdv_answers write asked.json
    python3.10 -m venv tfdv
    tfdv/bin/pip install --no-deps tensorflow-data-validation==1.16.1 \
        tensorflow-metadata==1.16.1 protobuf==4.21.12 googleapis-common-protos
    tfdv/bin/python tests/unit/validation/tfdv_answers.py answer asked.json \
        tests/unit/validation/tfdv_vectors.json
"""

import base64
import importlib.util
import json
import pathlib
import sys


def write(asked):
    """The cases, serialized, and what a schema is inferred from."""
    from tests.unit.validation.cases import cases

    def coded(message):
        return base64.b64encode(message.SerializeToString()).decode() if message else ""

    found = [
        {
            "name": case.name,
            "schema": coded(case.schema),
            "statistics": coded(case.statistics),
            "baseline": coded(case.baseline),
            "previous": coded(case.previous),
            "environment": case.environment,
        }
        for case in cases()
    ]
    pathlib.Path(asked).write_text(json.dumps(found))


def answer(asked, vectors):
    """By the extension that the package brings, loaded without the package."""
    package = pathlib.Path(sys.prefix) / "lib"
    (library,) = package.glob("*/site-packages/tensorflow_data_validation/pywrap/*.so")
    name = library.name.split(".")[0]
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    given = json.loads(pathlib.Path(asked).read_text())
    told = {case["name"]: _judged(module.validation, case) for case in given}
    lines = [
        f"{json.dumps(name)}: {json.dumps(told[name], sort_keys=True)}" for name in sorted(told)
    ]
    pathlib.Path(vectors).write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _judged(validation, case):
    from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

    data = {key: base64.b64decode(value) for key, value in case.items() if key not in _TEXTS}
    result = anomalies_pb2.Anomalies.FromString(
        validation.ValidateFeatureStatistics(
            data["statistics"],
            data["schema"],
            case["environment"],
            data["previous"],
            data["baseline"],
            b"",
            b"",
            b"",
            False,
        )
    )
    inferred = validation.InferSchema(data["statistics"], 100, True)
    return {
        "features": {key: _types(info) for key, info in result.anomaly_info.items()},
        "dataset": _types(result.dataset_anomaly_info),
        "data_missing": result.data_missing,
        "measured": [_measured(info) for info in result.drift_skew_info],
        "inferred": str(schema_pb2.Schema.FromString(inferred)),
    }


def _types(info):
    from tensorflow_metadata.proto.v0.anomalies_pb2 import AnomalyInfo

    return sorted(AnomalyInfo.Type.Name(reason.type) for reason in info.reason)


def _measured(info):
    return {
        "path": list(info.path.step),
        "drift": [[each.type, each.value, each.threshold] for each in info.drift_measurements],
        "skew": [[each.type, each.value, each.threshold] for each in info.skew_measurements],
    }


_TEXTS = ("name", "environment")

if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2])
    else:
        answer(sys.argv[2], sys.argv[3])
