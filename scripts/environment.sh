# shellcheck shell=bash
# Makes .venv, complete and current; sourced by scripts/demo and scripts/test.
#
# Needs Python 3.11 to 3.13 (or PYTHON naming one) and its pip. Packages come from wherever pip
# and uv are configured to look, and only those whose hashes are in config/requirements*.lock are
# installed. There are three kinds of environment, each with all that the one before it has:
#
#   light   transcribes on a CPU, and has the demo's servers and weights
#   full    the same with WhisperX, torch, the CUDA libraries and the models that tell who speaks
#   test    the same with the tools that check the code
#
# An environment grows if more is asked of it, and never shrinks: to begin again, remove .venv.

REPOSITORY=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
VENV="$REPOSITORY/.venv"
VENV_PYTHON="$VENV/bin/python"
STAMP="$VENV/installed-lock"
KINDS='light full test'

# What is there where an NVIDIA driver is; to ask CUDA would take an environment.
CARD_FILES=(/dev/nvidiactl /proc/driver/nvidia/version)

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

# Prints the kind that the demo needs here for its arguments.
kind_for_demo() {
    local argument file
    for argument in "$@"; do
        if [ "$argument" = --speakers ]; then
            echo full
            return
        fi
    done
    for file in "${CARD_FILES[@]}"; do
        if [ -e "$file" ]; then
            echo full
            return
        fi
    done
    echo light
}

# Prints the larger of two kinds; what is no kind counts for nothing.
larger_kind() {
    local kind found=''
    for kind in $KINDS; do
        if [ "$kind" = "$1" ] || [ "$kind" = "$2" ]; then found=$kind; fi
    done
    echo "$found"
}

# Prints the locks of a kind, one a line. They agree in the versions of what they share.
locks_of() {
    local name
    case $1 in
        light) set -- requirements-demo.lock requirements-sample.lock ;;
        full) set -- requirements-demo.lock requirements.lock ;;
        test) set -- requirements-dev.lock ;;
    esac
    for name in "$@"; do printf '%s\n' "$REPOSITORY/config/$name"; done
}

# What a complete environment's stamp says: its kind, what the locks hold, its own Python, and where
# the repository lies.
fingerprint() {
    local locks
    mapfile -t locks < <(locks_of "$1")
    "$VENV_PYTHON" -IS - "$1" "$REPOSITORY" "${locks[@]}" <<'PYTHON'
import hashlib, sys
kind, repository, *locks = sys.argv[1:]
digest = hashlib.sha256(b"".join(open(lock, "rb").read() for lock in locks)).hexdigest()
print(kind, digest, "%d.%d" % sys.version_info[:2], repository)
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
    local size lock requirements=()
    case $1 in
        light) size="0.3 GB to download, 0.8 GB on the disk" ;;
        full | test) size="over 4 GB to download, 8 GB on the disk, most of it CUDA's" ;;
    esac
    say "installing the $1 environment (the first time $size)"
    while read -r lock; do requirements+=(--requirement "$lock"); done < <(locks_of "$1")
    # Nothing beyond the locks: what a package is said to need and isn't in them is left out.
    "$VENV/bin/uv" pip install --python "$VENV_PYTHON" --require-hashes --no-deps \
        "${requirements[@]}" >&2
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

# Makes the environment of a kind, or does nothing, and quickly, if it is there.
prepare_environment() {
    local kind noted=''
    if [ -f "$STAMP" ]; then read -r noted _ <"$STAMP" || true; fi
    kind=$(larger_kind "$1" "$noted")
    if [ -x "$VENV_PYTHON" ] && [ -f "$STAMP" ] &&
        [ "$(cat "$STAMP")" = "$(fingerprint "$kind")" ]; then
        return
    fi
    make_venv || return
    # What is broken off now is taken up by the next run, whatever that asks for.
    printf '%s unfinished\n' "$kind" >"$STAMP"
    install_packages "$kind" && install_worker || return
    fingerprint "$kind" >"$STAMP"
}
