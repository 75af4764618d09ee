#!/bin/sh
# Makes a small guest that has an agent: Debian's kernel and qemu-guest-agent, busybox, and two disks that it writes to.
# Runs as root in a tree with packages.txt unpacked; $1 is this folder; writes disk0.raw and disk1.raw to the working folder.
set -eu
recipe=$1
kernel=$(basename /lib/modules/*)
depmod "$kernel"

root=$PWD/root
mkdir -p "$root/bin" "$root/etc" "$root/sbin" "$root/modules"
cp /usr/bin/busybox "$root/bin/busybox"
cp /usr/sbin/qemu-ga "$root/sbin/"
ldd /usr/sbin/qemu-ga | grep -o '/[^ ]*' >libraries
while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done <libraries
modprobe --set-version "$kernel" --show-depends --all virtio_pci virtio_blk virtio_console ext4 >modules
sed -n 's/^insmod \([^ ]*\).*/\1/p' modules | busybox awk '!seen[$0]++' >files
while read -r module; do
    xz -dc "$module" >"$root/modules/$(basename "$module" .xz)"
    basename "$module" .xz >>"$root/modules/order"
done <files
install -m 755 "$recipe/init" "$root/init"
install -m 755 "$recipe/shutdown" "$root/sbin/shutdown"
install -m 755 "$recipe/fsfreeze-hook" "$root/etc/fsfreeze-hook"
(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >initrd

# An EFI system partition of 48 MiB and one of 16 MiB that the guest writes to.
truncate -s 68M disk0.raw
printf 'label: gpt\nstart=2048, size=98304, type=uefi\nsize=32768, type=linux\n' | sfdisk --quiet disk0.raw
# An emulated processor speculates about nothing: its kernel need not work around that.
cat >grub.cfg <<'CFG'
linux /vmlinuz console=ttyS0 panic=1 quiet mitigations=off
initrd /initrd
boot
CFG
grub-mkimage --format=x86_64-efi --prefix=/ --config=grub.cfg --output=bootx64.efi part_gpt fat normal linux boot
mformat -i disk0.raw@@1M -F -T 98304 -h 16 -s 63 ::
mmd -i disk0.raw@@1M ::/EFI ::/EFI/BOOT
mcopy -i disk0.raw@@1M bootx64.efi ::/EFI/BOOT/BOOTX64.EFI
mcopy -i disk0.raw@@1M "/boot/vmlinuz-$kernel" ::/vmlinuz
mcopy -i disk0.raw@@1M initrd ::/initrd
mkfs.ext4 -q -E offset=$(((2048 + 98304) * 512)) disk0.raw 16M
truncate -s 16M disk1.raw
mkfs.ext4 -q disk1.raw
