#!/bin/sh
# `make setup`: makes .venv what requirements.lock says, in this folder, with the Python named ($1) or python3.
# .venv/installed says what was done: with which Python, in which folder, from which lock. Where it agrees, nothing is.
set -eu
umask 022 # an environment that others may use as well

say() { echo "make setup: $*" >&2; }
version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# Not the environment's own Python: it may be what has to be made anew.
paths=":$PATH:" own=":$(pwd)/.venv/bin:"
while case $paths in *"$own"*) ;; *) false ;; esac; do paths="${paths%%"$own"*}:${paths#*"$own"}"; done
paths=${paths#:} PATH=${paths%:}

# Of pip's settings those that say where packages come from; the others break an installation into .venv.
for name in $(env | sed -n 's/^\(PIP_[A-Z_]*\)=.*/\1/p'); do
  case $name in
    *INDEX* | *FIND_LINKS | *TRUSTED_HOST | *CERT | *PROXY | *CACHE_DIR | *CONFIG_FILE | *TIMEOUT | *RETRIES | *KEYRING*) ;;
    *) unset "$name" ;;
  esac
done
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1

named=${1:-} python=${1:-python3} wanted=
lock=$(cat requirements.lock pyproject.toml | cksum)
done=$(cat .venv/installed 2>/dev/null) || done=
here() { found=$(.venv/bin/python -c 'import pip' 2>/dev/null && version .venv/bin/python) && here="Python $found in $(pwd -P)"; }
if [ -n "$named" ]; then wanted=$(version "$named") || wanted=none; fi

here && [ "${wanted:-$found}" = "$found" ] || here=
if [ -n "$here" ] && [ "$done" = "$here, $lock" ]; then exit 0; fi

case $done in
  "${here:-nothing}, "*) ;; # whole, but of another lock: installed over
  *)
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
      say "Python 3.11 or later is needed, and $python is $(version "$python" || echo none at all); name one with PYTHON="
      exit 1
    }
    if [ -e .venv ]; then say ".venv is unfinished, another folder's or another Python's: it is made anew"; fi
    rm -f .venv/installed
    "$python" -m venv --clear .venv || {
      say "$python has no whole venv module. Debian and Ubuntu: apt-get install python$(version "$python")-venv; then this again"
      exit 1
    }
    here || { say "the new .venv has no pip"; exit 1; }
    ;;
esac
.venv/bin/python -m pip install --quiet --require-hashes --requirement requirements.lock
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
echo "$here, $lock" >.venv/installed
