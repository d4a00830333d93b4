#!/bin/sh
# Make .venv and bring it in step with a requirements file; quick when there is nothing to do.
# usage: scripts/venv.sh requirements.txt      environment: PYTHON (default python3)
set -eu

requirements=$1
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."

fail() {
    echo "attune: $*" >&2
    exit 2
}

command -v "$python" >/dev/null 2>&1 || fail "$python is missing. Install Python 3.11 or newer (on Debian: apt-get install python3)."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old. Attune needs 3.11 or newer; name another one with: make PYTHON=python3.12 ..."

# Debian ships venv without ensurepip in a package of its own.
can_make_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }

install_venv() {
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "attune: installing $package"
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$package"; } >&2 </dev/null ||
            fail "Could not install $package; install it by hand."
        can_make_venv || fail "$package is installed, but '$python -m venv' still does not work."
    else
        fail "'$python -m venv' does not work here. Install the package $package (sudo apt-get install $package), then try again."
    fi
}

if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    can_make_venv || install_venv
    echo "attune: making .venv"
    "$python" -m venv --clear .venv
fi

# The files it was last brought in step with, as they were then: pip runs again only when one of them has changed.
stamp=.venv/.stamp-$(echo "$requirements" | tr / -)
wanted=$(cat requirements.txt "$requirements" | cksum)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "attune: installing $requirements"
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 .venv/bin/python -m pip install --quiet --requirement "$requirements" ||
        fail "Could not install $requirements (is the package index reachable?)."
    echo "$wanted" >"$stamp"
fi
