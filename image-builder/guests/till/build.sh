#!/bin/sh
# A bootable BIOS disk of 16 MiB: an MBR, GRUB in the gap behind it, and a FAT file system with the till's program, that the
# guest writes to.
# Runs in the tools tree; $1 is the recipe's folder; writes till.raw to the working folder.
set -eu
recipe=$1
disk=till.raw
truncate -s 16M "$disk"
printf 'label: dos\nlabel-id: 0x7e110001\nstart=2048, type=c, bootable\n' | sfdisk --quiet "$disk"
fat="$disk@@1M"
mformat -i "$fat" -F -N 7e110001 -v TILL -T $((15 * 2048)) -h 16 -s 63 ::
# The environment block is a fixed 1024 bytes, so saving to it never allocates (GRUB manual, "Environment block").
grub-editenv grubenv create
cp "$recipe/grub.cfg" grub.cfg
nasm -f bin -o till.bin "$recipe/till.asm"
touch -d "@$SOURCE_DATE_EPOCH" grubenv grub.cfg till.bin
mmd -i "$fat" ::/boot ::/boot/grub
mcopy -m -i "$fat" till.bin ::/boot/
mcopy -m -i "$fat" grubenv grub.cfg ::/boot/grub/
modules="biosdisk part_msdos fat normal serial terminal test loadenv minicmd regexp multiboot boot"
# shellcheck disable=SC2086 # one word a module
grub-mkimage --format=i386-pc --prefix='(hd0,msdos1)/boot/grub' --output=core.img $modules
# boot.img loads the sector after itself (its default), and core.img starts with a list of its own sectors from the next
# one on (GRUB manual, "Images"); the partition table in bytes 440…511 stays.
dd if=/usr/lib/grub/i386-pc/boot.img of="$disk" bs=440 count=1 conv=notrunc status=none
dd if=core.img of="$disk" bs=512 seek=1 conv=notrunc status=none
[ "$(stat -c %s core.img)" -lt $((2047 * 512)) ] || { echo "core.img does not fit before the first partition" >&2; exit 1; }
