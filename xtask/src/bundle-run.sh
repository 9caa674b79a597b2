#!/usr/bin/env bash
# Runs this bundle beside the PyTorch of a Python: ./run.sh test [cpu|cuda], or ./run.sh ARGUMENTS of idiolect.
# PYTHON names the Python (python3 unless it is set).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
wanted=MINOR
torch=$("${PYTHON:-python3}" -c 'import torch; print(torch.__path__[0])') || {
  echo "error: ${PYTHON:-python3} has no PyTorch; PYTHON=/path/to/python names another" >&2
  exit 1
}
version=$(sed -n "s/^__version__ = '\(.*\)'/\1/p" "$torch/version.py")
case $version in
  "$wanted".*) ;;
  *) echo "error: this bundle is for PyTorch $wanted, and $torch is $version" >&2; exit 1 ;;
esac
paths=$torch/lib
for folder in "$(dirname "$torch")"/nvidia/*/lib; do
  [ -d "$folder" ] && paths=$paths:$folder
done
export LD_LIBRARY_PATH=$paths${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
if [ "${1:-}" != test ]; then
  exec "$here/idiolect" "$@"
fi
export IDIOLECT_TEST_DEVICE=${2:-cuda}
if [ "$IDIOLECT_TEST_DEVICE" = cuda ] && ! nvidia-smi >/dev/null 2>&1; then
  echo "error: there is no NVIDIA GPU here (nvidia-smi names none), so nothing was run" >&2
  exit 1
fi
echo "PyTorch $version, tests on $IDIOLECT_TEST_DEVICE" >&2
failed=0
for test in "$here"/crates/*/bin/*; do
  echo "== $(basename "$(dirname "$(dirname "$test")")"): $(basename "$test")" >&2
  # Tests read their fixtures relative to their package.
  (cd "$(dirname "$test")/.." && "$test" --test-threads=1) || failed=1
done
exit $failed
