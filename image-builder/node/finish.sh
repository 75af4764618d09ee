#!/bin/sh
# Runs in the node's root when everything is installed: takes away what must differ from machine to machine, or would differ
# from build to build.
set -eu
rm -f /etc/ssh/ssh_host_*
: >/etc/machine-id # empty, not absent: systemd makes one at the first boot and keeps it (machine-id(5))
rm -f /var/lib/dbus/machine-id /etc/hostname /etc/.pwd.lock /etc/resolv.conf
rm -rf /var/lib/apt /var/cache/apt /var/cache/debconf /var/cache/ldconfig /var/log/apt /var/lib/systemd/random-seed
rm -f /var/log/dpkg.log /var/log/alternatives.log /var/log/bootstrap.log /var/cache/man/* /var/backups/*
rm -f /etc/apt/apt.conf.d/99mmdebstrap /etc/dpkg/dpkg.cfg.d/99mmdebstrap /var/lib/dpkg/*-old /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid-
rm -f /boot/System.map-* /boot/config-* /boot/initrd.img*
# Shadow dates of accounts made during the build.
sed -i -E 's/^([^:]*:[^:]*):[0-9]*:/\1:20000:/' /etc/shadow
# No account has a password that can be used, whatever made it.
awk -F: '$2 !~ /^[!*]/ && $2 != "" { print $1; bad = 1 } $2 == "" { print $1; bad = 1 } END { exit bad }' /etc/shadow || {
    echo "accounts with a usable or an empty password: see above" >&2
    exit 1
}
# The clock never goes behind the image's date, even with a dead battery and no network (systemd(1), clock-epoch).
touch -d "@$SOURCE_DATE_EPOCH" /usr/lib/clock-epoch
# Everything that systemd rebuilds when /usr is newer than /etc and /var is built here, so that a first boot need not
# (systemd-update-done.service(8)).
ldconfig
rm -rf /var/cache/ldconfig # inode numbers and times of this machine
journalctl --update-catalog
rm -f /etc/machine-id /var/lib/systemd/random-seed
: >/etc/machine-id
for folder in /etc /var; do
    printf '# This file was made when the image was built.\nTIMESTAMP_NSEC=%s000000000\n' "$SOURCE_DATE_EPOCH" >"$folder/.updated"
done
touch -d "@$SOURCE_DATE_EPOCH" /usr
# Files younger than the build's date would carry the time of the build itself.
# (-xdev still names the mount points themselves, which are not the tree's.)
find / -xdev -regex '/\(proc\|sys\|dev\|run\|tmp\)' -prune -o -newermt "@$SOURCE_DATE_EPOCH" -print0 | xargs -0 -r touch --no-dereference --date="@$SOURCE_DATE_EPOCH"
