#!/bin/busybox sh
# First program of a guest: the host's files, read only, under a layer in memory that is thrown away; then the checks on top of it.
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
$bb mount -t devtmpfs devtmpfs /dev
while read -r module; do $bb insmod "/modules/$module" || echo "init: $module does not load"; done </modules/list
$bb mount -t virtiofs -o ro host /lower || exec $bb reboot -f
$bb mount -t tmpfs tmpfs /upper
$bb mkdir /upper/upper /upper/work
$bb mount -t overlay -o lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work overlay /root
for dir in proc sys dev; do $bb mount --move /$dir /root/$dir; done
exec $bb switch_root /root /bin/sh "$SLUICE_ROOT/test/vm/guest/main.sh"
