#!/bin/bash
# dracut module (dracut.modules(7)): finds out which inventory host this machine is and merges that host's layer.
# shellcheck disable=SC2154 # dracut sets moddir, initdir and systemdsystemunitdir

check() {
    return 0
}

depends() {
    echo systemd dm fs-lib
}

install() {
    inst_multiple awk cat cp e2fsck echo ln mkdir mount readlink sed sleep sync tr udevadm umount
    inst_script "$moddir/edgewright-identify" /usr/lib/edgewright/identify
    inst_script "$moddir/edgewright-node" /usr/lib/edgewright/node
    inst_simple "$moddir/edgewright-node.service" "$systemdsystemunitdir/edgewright-node.service"
    inst_simple "$moddir/emergency.service" "$systemdsystemunitdir/emergency.service"
    # dracut has no preset for initrd.target.requires; the link is what `systemctl enable` would make.
    mkdir -p "$initdir$systemdsystemunitdir/initrd-fs.target.requires"
    ln -sf ../edgewright-node.service "$initdir$systemdsystemunitdir/initrd-fs.target.requires/edgewright-node.service"
}
