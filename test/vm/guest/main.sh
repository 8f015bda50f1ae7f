#!/bin/sh
# Process 1 of a guest: makes it a machine like any other (one cgroup hierarchy, loopback, the usual mounts), runs its job, leaves
# the exit code and what it said in the folder shared with the host, and ends the machine. The variables are the kernel's command
# line.
out=/run/sluice-vm-out
export PATH="$SLUICE_NODE_DIR:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" HOME=/root
# What tests want compiled, the host did.
export SLUICE_TEST_NO_COMPILER=1
export SLUICE_TEST_PATIENCE=10
mount -t tmpfs tmpfs /run
mkdir -p $out /run/lock /dev/pts /dev/shm
mount -t virtiofs out $out || busybox reboot -f
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t securityfs securityfs /sys/kernel/security
busybox ip link set lo up
# Like a machine with a network: without an address of a kind, the C library asks for no name's address of that kind.
busybox ip addr add 192.0.2.1/32 dev lo
busybox ip addr add 2001:db8::1/128 dev lo
cd "$SLUICE_ROOT" || exit 1
node "test/vm/guest/$SLUICE_JOB.mjs" $out >$out/output 2>&1
echo $? >$out/exit-code
cp /sys/kernel/btf/vmlinux $out/vmlinux.btf
sync
busybox reboot -f
