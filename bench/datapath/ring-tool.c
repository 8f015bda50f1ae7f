// SPDX-License-Identifier: Apache-2.0
/*
 * Load generator and baseline of the data path benchmark.
 *   ring-tool fill OBJECT MAP_ID            fills the ring, prints how many records went in
 *   ring-tool consume OBJECT MAP_ID ROUNDS  fills and drains ROUNDS times with a pure C consumer that reads three fields a record;
 *                                           prints "records wall_ns cpu_ns"
 *   ring-tool produce OBJECT MAP_ID MS      attempts records without pause for so long, from the last CPU; prints "go" when it
 *                                           begins, then "attempted dropped"
 *   ring-tool follow OBJECT MAP_ID MS       the pure C consumer beside a producer: reads to the end, sleeps 1 ms, and again;
 *                                           prints "records wall_ns cpu_ns"
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/types.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "event_abi.h"

#define RECORD_BYTES 200
#define RECORDS_PER_RUN 1000

#define RECORDS_PER_LOOK 10000 /* at the clock */

struct totals {
	unsigned long long records;
	unsigned long long sum; /* of the fields read, so that no compiler leaves the reads out */
	unsigned long long end_ns; /* CLOCK_MONOTONIC; 0 = read to the end of the ring */
};

static unsigned long long now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* An open of a path of ordinary length, like the tracer makes it. */
static void make_record(unsigned char *bytes)
{
	static const char path[] = "/usr/lib/python3.11/encodings/utf_8.py";
	struct sl_file_open *rec = (struct sl_file_open *)bytes;
	size_t room = RECORD_BYTES - sizeof(*rec);
	size_t path_len = sizeof(path) - 1;
	size_t user_len = room - path_len;

	memset(bytes, 'x', RECORD_BYTES);
	memset(rec, 0, sizeof(*rec));
	rec->hdr.kind = SL_KIND_FILE_OPEN;
	rec->hdr.cpu = 1;
	rec->hdr.size = RECORD_BYTES;
	rec->hdr.cpu_seq = 1234567;
	rec->hdr.time_ns = now_ns(CLOCK_BOOTTIME);
	rec->hdr.sandbox = 4711;
	rec->hdr.cgroup_id = 4711;
	rec->hdr.start_time_ns = rec->hdr.time_ns - 1000000;
	rec->hdr.pid = rec->hdr.tid = 23456;
	rec->hdr.ppid = 23455;
	rec->hdr.uid = rec->hdr.gid = 1000;
	rec->hdr.exec_count = 1;
	rec->inode = 329642;
	rec->dev = 0xfe00000;
	rec->flags = 02000000;
	rec->path_len = path_len;
	rec->user_path_len = user_len;
	memcpy(rec->data, path, path_len);
}

static int consume_one(void *ctx, void *data, size_t size)
{
	struct totals *totals = ctx;
	struct sl_event_hdr *hdr = data;

	(void)size;
	totals->records++;
	totals->sum += hdr->kind + hdr->pid + hdr->time_ns;
	if (totals->records % RECORDS_PER_LOOK == 0 && totals->end_ns && now_ns(CLOCK_MONOTONIC) >= totals->end_ns)
		return -ETIME;
	return 0;
}

static unsigned long long fill_ring(int prog_fd)
{
	unsigned long long records = 0;

	for (;;) {
		LIBBPF_OPTS(bpf_test_run_opts, opts);

		if (bpf_prog_test_run_opts(prog_fd, &opts)) {
			perror("run fill");
			exit(1);
		}
		records += opts.retval;
		if (opts.retval < RECORDS_PER_RUN)
			return records;
	}
}

static void run_once(int prog_fd, unsigned int *ret_in)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	if (bpf_prog_test_run_opts(prog_fd, &opts)) {
		perror("run flood");
		exit(1);
	}
	*ret_in = opts.retval;
}

/* The producer keeps one CPU, so that every consumer finds the same rest of the machine. */
static void pin_to_last_cpu(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		perror("sched_setaffinity");
}

static int produce(int prog_fd, long ms)
{
	unsigned long long attempted = 0, in = 0, end;

	pin_to_last_cpu();
	printf("go\n");
	fflush(stdout);
	for (end = now_ns(CLOCK_MONOTONIC) + ms * 1000000ull; now_ns(CLOCK_MONOTONIC) < end;) {
		unsigned int entered;

		run_once(prog_fd, &entered);
		attempted += RECORDS_PER_RUN;
		in += entered;
	}
	printf("%llu %llu\n", attempted, attempted - in);
	return 0;
}

static int follow(struct ring_buffer *ring, struct totals *totals, long ms)
{
	unsigned long long start = now_ns(CLOCK_MONOTONIC), cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID), now;

	totals->end_ns = start + ms * 1000000ull;
	do {
		unsigned long long before = totals->records;

		ring_buffer__consume(ring);
		now = now_ns(CLOCK_MONOTONIC);
		if (totals->records == before)
			usleep(1000);
	} while (now < totals->end_ns);
	printf("%llu %llu %llu\n", totals->records, now - start, now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu);
	return totals->sum == 0;
}

static int load_filler(const char *path, int ring_fd, const char *program)
{
	struct bpf_object *object = bpf_object__open(path);
	unsigned char record[RECORD_BYTES];
	struct bpf_map *ring;
	__u32 zero = 0;

	if (!object)
		return -errno;
	ring = bpf_object__find_map_by_name(object, "sl_ring_bulk");
	if (bpf_map__reuse_fd(ring, ring_fd) || bpf_object__load(object))
		return -errno;
	make_record(record);
	if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(object, "record"), &zero, record, BPF_ANY))
		return -errno;
	return bpf_program__fd(bpf_object__find_program_by_name(object, program));
}

int main(int argc, char **argv)
{
	struct totals totals = {};
	unsigned long long wall = 0, cpu = 0;
	struct ring_buffer *ring;
	int ring_fd, prog_fd;
	int produces = argc > 1 && strcmp(argv[1], "produce") == 0;
	long round;

	if (argc < 4 || (strcmp(argv[1], "fill") && argc < 5)) {
		fprintf(stderr, "usage: ring-tool fill|consume|produce|follow OBJECT MAP_ID [ROUNDS|MS]\n");
		return 2;
	}
	ring_fd = bpf_map_get_fd_by_id(strtoul(argv[3], NULL, 10));
	prog_fd = ring_fd < 0 ? -errno : load_filler(argv[2], ring_fd, produces ? "flood" : "fill");
	if (prog_fd < 0) {
		fprintf(stderr, "ring-tool: %s\n", strerror(-prog_fd));
		return 1;
	}
	if (strcmp(argv[1], "fill") == 0) {
		printf("%llu\n", fill_ring(prog_fd));
		return 0;
	}
	if (produces)
		return produce(prog_fd, strtol(argv[4], NULL, 10));
	ring = ring_buffer__new(ring_fd, consume_one, &totals, NULL);
	if (!ring)
		return 1;
	if (strcmp(argv[1], "follow") == 0)
		return follow(ring, &totals, strtol(argv[4], NULL, 10));
	for (round = strtol(argv[4], NULL, 10); round > 0; round--) {
		unsigned long long wall_before, cpu_before;

		fill_ring(prog_fd);
		wall_before = now_ns(CLOCK_MONOTONIC);
		cpu_before = now_ns(CLOCK_PROCESS_CPUTIME_ID);
		ring_buffer__consume(ring);
		wall += now_ns(CLOCK_MONOTONIC) - wall_before;
		cpu += now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_before;
	}
	printf("%llu %llu %llu\n", totals.records, wall, cpu);
	return totals.sum == 0;
}
