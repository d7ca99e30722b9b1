#!/usr/bin/env bash
# Install what tests (or, with `bench`, benchmarks; with `fast`, the compiled build) need from the system; say exactly what is missing when we may not.
set -euo pipefail
needs=("redis-server:redis-server" "node:nodejs" "npm:npm")
if [ "${1:-}" = fast ]; then needs=("gcc:gcc"); fi
if [ "${1:-}" = fast ] && [ ! -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; then
    needs+=("no-such-command:python3-dev")
fi
if [ -z "${1:-}" ] && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then needs+=("initdb:postgresql"); fi
if [ -z "${1:-}" ] && ! command -v google-chrome >/dev/null; then needs+=("chromium:chromium"); fi
if [ "${1:-}" = bench ]; then needs=("nginx:nginx-light" "wrk:wrk"); fi

missing=()
for need in "${needs[@]}"; do
    command -v "${need%%:*}" >/dev/null || [ -x "/usr/sbin/${need%%:*}" ] || missing+=("${need##*:}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing ${missing[*]}"
    # A server that Debian starts by itself would hold a port that tests may want.
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d.meterway
    chmod +x /usr/sbin/policy-rc.d.meterway
    [ -e /usr/sbin/policy-rc.d ] || { cp /usr/sbin/policy-rc.d.meterway /usr/sbin/policy-rc.d; made=1; }
    apt-get update -qq
    status=0
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || status=$?
    [ -z "${made:-}" ] || rm -f /usr/sbin/policy-rc.d
    rm -f /usr/sbin/policy-rc.d.meterway
    exit $status
fi
echo "missing from this system: ${missing[*]}" >&2
echo "please run: sudo apt install ${missing[*]}" >&2
exit 1
