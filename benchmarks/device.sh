#!/usr/bin/env bash
# Everything this project wants to know about a GPU, in one command of at most eight minutes on one H200.
#
#     bash benchmarks/device.sh                           # results/device.json, and a table at the end
#     bash benchmarks/device.sh --quick                   # tiny sizes, on a CPU too
#     WHEELS=wheels OUT=out bash benchmarks/device.sh     # a machine without network; the file goes to out/
#
# Nothing is installed but the repository: it is used where it lies. Needed beside Python 3.11 or later are torch,
# lightning, numpy, scipy, numba, pyarrow and pandas, and for the tests pytest, pytest-timeout and hypothesis
# (pytest-xdist runs them side by side where it is there). Packages that a machine with torch often lacks:
#
#     moocore cffi pycparser platformdirs                 # the chain of a front and its tests: who is dominated
#     tomli-w                                             # tests that write the config of a run
#     lightgbm xgboost-cpu catboost                       # left out: without them the tests of trees skip
#
# Fetch them where there is a network, for the Python of that machine, and name the folder in WHEELS:
#
#     python -m pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
#         --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
#         -d wheels moocore cffi pycparser platformdirs tomli-w
#
# They go to a folder that is removed at the end. COMMIT names the commit where the checkout travels without git. A file
# that is worth keeping is committed as benchmarks/speed/results/device.json, and the page is written again with
# `python -m benchmarks.speed --page`.
set -euo pipefail
wheels=${WHEELS:+$(cd "$WHEELS" && pwd)}
if [ -n "${OUT:-}" ]; then
    mkdir -p "$OUT"
    OUT=$(cd "$OUT" && pwd)
    export OUT
fi
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
if [ -n "$wheels" ]; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" "$wheels"/*.whl
    export PYTHONPATH="$site:$PYTHONPATH"
fi
"$python" -m benchmarks.speed.device "$@"
