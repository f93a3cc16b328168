#!/system/bin/sh
# Runs Python with this folder's own loader and C library, so that it needs neither root nor an app.
# $0 is this file: `sh python FILE`, `sh python -m MODULE`.
here=$(cd "${0%/*}" && pwd)
unset LD_LIBRARY_PATH LD_PRELOAD PYTHONSTARTUP
export PYTHONHOME="$here/interpreter" PYTHONPATH="$here/site" PYTHONNOUSERSITE=1 PYTHONUTF8=1
export HOME="$here/home" TMPDIR="$here/tmp"
mkdir -p "$HOME" "$TMPDIR"
exec "$here/lib/ld-linux-aarch64.so.1" --library-path "$here/lib" "$here/interpreter/bin/python3.11" "$@"
