# shellcheck shell=bash
# Makes .venv, complete and current; sourced by scripts/demo and scripts/test.
#
# Needs Python 3.11 to 3.13 (or PYTHON naming one) and its pip. Packages come from wherever pip
# and uv are configured to look, and only those whose hashes are in config/requirements-dev.lock
# are installed. Does nothing, and quickly, while that file has not changed.

REPOSITORY=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
LOCK="$REPOSITORY/config/requirements-dev.lock"
VENV="$REPOSITORY/.venv"
VENV_PYTHON="$VENV/bin/python"
STAMP="$VENV/installed-lock"

# Where Python may write no bytecode, importing WhisperX takes 20 s more every time. What is written
# lies in .venv, and elsewhere in folders that git ignores.
unset PYTHONDONTWRITEBYTECODE

say() { printf '%s\n' "$*" >&2; }

# Prints the first Python that can run the worker. A name on the PATH proves nothing: it is run.
find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
            >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    say "Python 3.11, 3.12 or 3.13 is needed and none was found: install one, or name it with"
    say "PYTHON=/path/to/python $0"
    return 1
}

# What the environment has to match: the lock, its own Python, and where the repository lies.
fingerprint() {
    "$VENV_PYTHON" - "$LOCK" "$REPOSITORY" <<'PYTHON'
import hashlib, pathlib, sys
lock = pathlib.Path(sys.argv[1]).read_bytes()
print(hashlib.sha256(lock).hexdigest(), "%d.%d" % sys.version_info[:2], sys.argv[2])
PYTHON
}

make_venv() {
    local python
    python=$(find_python) || return
    if [ ! -x "$VENV_PYTHON" ]; then
        say "making .venv with $("$python" --version)"
        # Debian's Python comes without ensurepip; its own pip can then install into the venv.
        "$python" -m venv "$VENV" >/dev/null 2>&1 ||
            "$python" -m venv --clear --without-pip "$VENV" || return
    fi
    if [ ! -x "$VENV/bin/uv" ]; then
        say "bringing uv"
        if "$VENV_PYTHON" -m pip --version >/dev/null 2>&1; then
            "$VENV_PYTHON" -m pip install --quiet --disable-pip-version-check uv || return
        else
            "$python" -m pip --python "$VENV_PYTHON" install --quiet --disable-pip-version-check \
                uv || return
        fi
    fi
}

install_packages() {
    say "installing what $(basename "$LOCK") names (about 7 GB with the CUDA libraries)"
    "$VENV/bin/uv" pip install --python "$VENV_PYTHON" --require-hashes --requirement "$LOCK" >&2
}

# The package itself: a path, and the command. Building it would fetch a build system.
install_worker() {
    local site
    site=$("$VENV_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') || return
    printf '%s\n' "$REPOSITORY" >"$site/transcription-worker.pth"
    printf '#!%s\nfrom worker.__main__ import main\n\nmain()\n' "$VENV_PYTHON" \
        >"$VENV/bin/transcription-worker"
    chmod +x "$VENV/bin/transcription-worker"
}

prepare_environment() {
    if [ -x "$VENV_PYTHON" ] && [ -f "$STAMP" ] &&
        [ "$(cat "$STAMP")" = "$(fingerprint)" ]; then
        return
    fi
    make_venv && install_packages && install_worker || return
    fingerprint >"$STAMP"
}
