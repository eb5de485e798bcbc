#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/fresh.sh [DIR]   the README's two commands in a bare Debian 12 root with a clone and nothing beside it.
# Needs root, debootstrap, the network, about 6 GiB under DIR (default: a temporary directory), and an hour.
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
dir=${1:-$(mktemp -d)}
fs=$dir/debian
[ "$(id -u)" -eq 0 ] || { echo "fresh: needs root, for debootstrap and chroot" >&2 && exit 2; }
command -v debootstrap >/dev/null || apt-get install -y -qq debootstrap
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\).*/\2/p' | sed -n 1p) || true # one of the files is missing
[ -e "$fs/etc/debian_version" ] || debootstrap --variant=minbase bookworm "$fs" "$mirror"
echo force-unsafe-io >"$fs/etc/dpkg/dpkg.cfg.d/scratch" # nobody needs this root after a power cut
cleanup() { umount -R "$fs/proc" "$fs/dev" 2>/dev/null || true; }
trap cleanup EXIT
mount -t proc proc "$fs/proc" && mount --rbind /dev "$fs/dev" && mount --make-rslave "$fs/dev" # so that umount stays here
# How this machine reaches its registries (proxies, certificates, mirrors) is the only thing that is lent.
for lent in etc/resolv.conf etc/apt/apt.conf.d etc/apt/sources.list etc/apt/sources.list.d etc/pip.conf \
    usr/local/share/ca-certificates etc/ssl/certs etc/apt/trusted.gpg.d usr/share/keyrings; do
    [ -e "/$lent" ] && mkdir -p "$fs/$(dirname "$lent")" && cp -rL "/$lent" "$fs/$(dirname "$lent")/" 2>/dev/null || true
done
rm -rf "$fs/tailor"
git clone -q "$source" "$fs/tailor"
run() { env -i HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    PIP_CONFIG_FILE=/etc/pip.conf PIP_BREAK_SYSTEM_PACKAGES=1 $(env | grep -iE '^(https?_proxy|no_proxy|PIP_[A-Z_]*|SSL_CERT_FILE)=' || true) \
    chroot "$fs" sh -c "cd /tailor && $1"; }
run "deploy/quickstart.sh --out /tmp/quickstart && build/tailor down --data /tmp/quickstart/service"
run "tests/run.sh"
