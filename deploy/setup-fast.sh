#!/usr/bin/env bash
# Build the project with its hot rooms compiled to C extensions and install it into the directory named by $1.
# GCC compiles them twice: what is hot is learned from a day's work with the first build (benchmarks/training.py).
set -euo pipefail
venv=${1:?usage: setup-fast.sh DIRECTORY}
cd "$(dirname "$0")/.."
python=.venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK=1
# The wheel is built in an environment of its own: with the compiler that is pinned, not the newest one.
export PIP_CONSTRAINT=$PWD/constraints.txt PIP_BUILD_CONSTRAINT=$PWD/constraints.txt
export HATCH_BUILD_HOOK_ENABLE_MYPYC=1
# Both builds have to be given the same C, and so the same order of everything.
export PYTHONHASHSEED=0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# In a copy: extensions beside the source would shadow every later change of it.
mkdir "$work/source"
cp -r gateway sdk_client agent_runtime pyproject.toml README.md LICENSE CHANGELOG.md constraints.txt "$work/source"
"$python" deploy/native.py "$work/source/gateway"

# Nobody else calls these functions by name: they call each other directly, and small ones become one.
flags="-w -fvisibility=hidden -fno-semantic-interposition"

install() { # install DIRECTORY: what is compiled with CC, CFLAGS and LDFLAGS
    rm -rf "$work/wheel" "$1"
    "$python" -m pip wheel --quiet --no-deps --wheel-dir "$work/wheel" "$work/source"
    "$python" -m venv "$1"
    "$1/bin/python" -m pip install --quiet --constraint constraints.txt "$(echo "$work"/wheel/meterway-*.whl)[postgres]"
}

if ! gcc --version | grep -q "Free Software Foundation"; then
    echo "compiling the hot rooms (some minutes)" >&2
    CFLAGS=$flags install "$venv"
else
    echo "compiling the hot rooms to learn what is hot in them (some minutes)" >&2
    CFLAGS="$flags -fprofile-generate=$work/profile" LDFLAGS=-fprofile-generate install "$work/trainee"
    "$python" -m benchmarks.training "$work/trainee/bin/meterway"
    PROFILE=$(find "$work/profile" -name '__native_*.gcda')
    [ -n "$PROFILE" ] || { echo "the first build left no profile: its gateway did not end in order" >&2; exit 1; }
    cat >"$work/cc" <<'CC'
#!/usr/bin/env bash
# GCC looks for a profile beside the object that it writes.
for word in "$@"; do case $word in */__native_*.o) cp "$PROFILE" "${word%.o}.gcda" ;; esac; done
exec gcc "$@"
CC
    chmod +x "$work/cc"
    echo "compiling them again (some minutes)" >&2
    export PROFILE
    CC=$work/cc CFLAGS="$flags -fprofile-use -fprofile-correction" install "$venv"
fi
echo "ready: $venv/bin/meterway"
