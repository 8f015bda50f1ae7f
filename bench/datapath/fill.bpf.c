// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Fills the bulk ring with copies of one record as fast as the kernel can, for the data path benchmark: what the consumers read is a
 * real ring with real records, without the cost of making them. The ring is the sensor's own, taken over by its map id.
 */
#include "vmlinux_min.h"
#include <bpf/bpf_helpers.h>
#include "event_abi.h"

#define RECORD_BYTES 200
#define RECORDS_PER_RUN 1000
#define PATH_BYTES 38 /* of the record that ring-tool makes */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} sl_ring_bulk SEC(".maps");

struct {
	__uint(type, 2 /* BPF_MAP_TYPE_ARRAY */);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8[RECORD_BYTES]);
} record SEC(".maps");

/* To the brim. Returns how many records went in; fewer than RECORDS_PER_RUN = the ring is full. */
SEC("syscall")
int fill(void *ctx)
{
	__u32 zero = 0;
	__u8 *rec = bpf_map_lookup_elem(&record, &zero);
	int i;

	if (!rec)
		return 0;
	for (i = 0; i < RECORDS_PER_RUN; i++) {
		if (bpf_ringbuf_output(&sl_ring_bulk, rec, RECORD_BYTES, 1 /* BPF_RB_NO_WAKEUP */))
			return i;
	}
	return i;
}

/*
 * Attempts RECORDS_PER_RUN records without pause, each made as the tracer makes one: the header asked for anew, the path read, all of it
 * put into the ring. What finds no room is dropped, the next one is tried. Returns how many went in.
 */
SEC("syscall")
int flood(void *ctx)
{
	__u32 zero = 0;
	struct sl_file_open *rec = bpf_map_lookup_elem(&record, &zero);
	char path[PATH_BYTES];
	int i, in = 0;

	if (!rec)
		return 0;
	bpf_probe_read_kernel(path, sizeof(path), rec->data);
	for (i = 0; i < RECORDS_PER_RUN; i++) {
		__u64 ids = bpf_get_current_pid_tgid(), owner = bpf_get_current_uid_gid();

		rec->hdr.cpu = bpf_get_smp_processor_id();
		rec->hdr.cpu_seq++;
		rec->hdr.time_ns = bpf_ktime_get_boot_ns();
		rec->hdr.cgroup_id = bpf_get_current_cgroup_id();
		rec->hdr.tid = ids;
		rec->hdr.pid = ids >> 32;
		rec->hdr.uid = owner;
		rec->hdr.gid = owner >> 32;
		bpf_probe_read_kernel(rec->data, sizeof(path), path);
		if (!bpf_ringbuf_output(&sl_ring_bulk, rec, RECORD_BYTES, 0))
			in++;
	}
	return in;
}

char _license[] SEC("license") = "Dual BSD/GPL";
