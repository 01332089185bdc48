#!/bin/sh
# Install the wheels and onnxruntime into an environment that nobody needs to write to.
#
#   install.sh WHEELS PREFIX [cpu|gpu]
set -eu
wheels=$1
prefix=$2
runtime=${3:-cpu}

wheel=$(ls "$wheels"/serving-*.whl)
client=$(ls "$wheels"/serving_client-*.whl)
echo "== $(basename "$wheel") with onnxruntime for $runtime, in $prefix"
python3 -m venv "$prefix"
"$prefix/bin/pip" install --quiet --no-cache-dir --disable-pip-version-check "${wheel}[$runtime,client,statistics]" \
    "$client"
# Compiled now: later the file system may be read-only.
# (Some packages carry files for other Pythons, which do not compile.)
"$prefix/bin/python" -m compileall -q "$prefix/lib" >/dev/null 2>&1 || true
"$prefix/bin/serving" --version
