#!/bin/sh
# Runs in the node's root right after its packages: lays out a root that will be read-only. What a node changes is in /var
# (the state partition) or in /etc (an overlay whose changes are on the state partition).
set -eu
# A checkout's modes follow its owner's umask; the image's must not.
cp -R --no-preserve=ownership /run/node/root /tmp/root
chmod -R u=rwX,go=rX /tmp/root
cp -a /tmp/root/. /
mkdir -p /var/home /var/roothome /var/opt /var/srv /var/usrlocal /usr/lib/edgewright/nodes /usr/lib/edgewright/containers/storage /usr/lib/edgewright/registry
chmod 0700 /var/roothome
for pair in home:var/home root:var/roothome srv:var/srv opt:var/opt usr/local:var/usrlocal; do
    path=/${pair%%:*} target=${pair#*:}
    cp -a "$path/." "/$target/"
    rm -rf "$path"
    case $path in /usr/local) target=../$target ;; esac
    ln -s "$target" "$path"
done
systemctl enable edgewright-grow.service edgewright-seed.service edgewright-console.service
# getty on the serial console is started by systemd-getty-generator where the kernel's console is one.
systemctl mask systemd-firstboot.service systemd-machine-id-commit.service
# libvirt starts every QEMU it finds to ask what it can do; the other one serves 32-bit x86 guests just as well.
rm -f /usr/bin/qemu-system-i386
# The image brings its own boot loader and initrd; dpkg's and apt's timers would write to a root that cannot be written.
systemctl mask systemd-boot-update.service dracut-shutdown.service
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service netavark-dhcp-proxy.socket; do
    [ ! -e "/usr/lib/systemd/system/$unit" ] || systemctl disable "$unit"
done
