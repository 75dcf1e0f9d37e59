#!/usr/bin/env bash
# Puts what the file WANTED lists into a Python environment of its own, DIR, unless it is there already.
#
#   venv.sh DIR WANTED [OPTIONS…]        with these options of `pip install`
set -euo pipefail

dir=$1
wanted=$2
shift 2
cmp -s "$wanted" "$dir/installed.txt" && exit 0
rm -rf "$dir"
python3 -m venv "$dir"
"$dir/bin/pip" install -q --disable-pip-version-check --no-deps "$@" -r "$wanted" >&2
cp "$wanted" "$dir/installed.txt"
