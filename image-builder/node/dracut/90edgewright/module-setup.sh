#!/bin/bash
# dracut module (dracut.modules(7)): finds out which inventory host this machine is and merges that host's layer.
# shellcheck disable=SC2154 # dracut sets moddir, initdir and systemdsystemunitdir

check() {
    return 0
}

depends() {
    echo systemd systemd-sysusers dm fs-lib
}

install() {
    inst_multiple awk cat cp e2fsck echo ln mkdir mount readlink sed sleep sync tr udevadm umount
    inst_script "$moddir/edgewright-identify" /usr/lib/edgewright/identify
    inst_script "$moddir/edgewright-node" /usr/lib/edgewright/node
    inst_simple "$moddir/edgewright-node.service" "$systemdsystemunitdir/edgewright-node.service"
    inst_simple "$moddir/emergency.service" "$systemdsystemunitdir/emergency.service"
    # systemd-sysusers, which its own module has run by now, dates the accounts by the lock's date; but the initrd is not made
    # anew for a lock with another date alone.
    sed -i -E 's/^([^:]*:[^:]*):[0-9]*:/\1:20000:/' "$initdir/etc/shadow"
    # dracut has no preset for initrd.target.requires; the link is what `systemctl enable` would make.
    mkdir -p "$initdir$systemdsystemunitdir/initrd-fs.target.requires"
    ln -sf ../edgewright-node.service "$initdir$systemdsystemunitdir/initrd-fs.target.requires/edgewright-node.service"
}
