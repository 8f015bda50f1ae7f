// SPDX-License-Identifier: Apache-2.0
/*
 * What comes of a fork whose id could not be stored: `quarantine OBJECT CGROUP FORGET [move]`. OBJECT is test/support/bpf/forgetful.bpf.c,
 * FORGET what it forgets. Makes the sandbox CGROUP/box and the stranger CGROUP/other, attaches the connect hooks to CGROUP, and prints
 * a line `name value` for each finding. The kernel forgets everything when this process ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../../bpf/event_abi.h"
#include "../../../bpf/map_abi.h"

#include "late_hooks.h"

#define WAIT_STEPS 500
#define FEW_STEPS 20
#define WAIT_STEP_US 10000

static struct bpf_object *object;
static char box[4096], other[4096];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int map(const char *name)
{
	return bpf_object__find_map_fd_by_name(object, name);
}

static void move(const char *cgroup, pid_t pid)
{
	char path[4200], text[16];
	int fd, size;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	size = snprintf(text, sizeof(text), "%d", pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, size) != size)
		fail(path);
	close(fd);
}

/* Of a UDP socket, which sends nothing: positive errno or 0. */
static int try_connect(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = connect(fd, (struct sockaddr *)&address, sizeof(address)) ? errno : 0;

	close(fd);
	return err;
}

/* A datagram without a connect. */
static int try_send(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = sendto(fd, "", 1, 0, (struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;

	close(fd);
	return err;
}

/* Within so many steps. */
static bool is_stopped(pid_t pid, int steps)
{
	char path[64], stat[512];
	int fd, step;
	ssize_t size;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	for (step = 0; step < steps; step++) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		size = fd < 0 ? -1 : read(fd, stat, sizeof(stat) - 1);
		close(fd);
		if (size <= 0)
			return false;
		stat[size] = 0;
		if (strrchr(stat, ')')[2] == 'T')
			return true;
		usleep(WAIT_STEP_US);
	}
	return false;
}

static void load(const char *path, const char *cgroup)
{
	int fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct bpf_program *program;

	libbpf_set_print(NULL);
	object = bpf_object__open_file(path, NULL);
	if (object)
		leave_out_late_hooks(object);
	if (!object || bpf_object__load(object))
		fail("loading");
	bpf_object__for_each_program (program, object) {
		bool is_trace = !strncmp(bpf_program__section_name(program), "tp_btf", 6);

		if (!bpf_program__autoload(program))
			continue;
		if (is_trace ? !bpf_program__attach(program) : !bpf_program__attach_cgroup(program, fd))
			fail(bpf_program__name(program));
	}
}

static void make_sandbox(__u64 *ret_id)
{
	struct sl_sandbox sandbox = {};
	struct stat stat_of_box;

	if (mkdir(box, 0755) || mkdir(other, 0755) || stat(box, &stat_of_box))
		fail(box);
	*ret_id = sandbox.id = stat_of_box.st_ino;
	if (bpf_map_update_elem(map("sl_sandboxes"), ret_id, &sandbox, BPF_ANY))
		fail("sl_sandboxes");
}

static void set_forget(__u32 what)
{
	struct bpf_map *bss = bpf_object__find_map_by_name(object, ".bss");
	__u32 zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(bss), &zero, &what, BPF_ANY))
		fail(".bss");
}

struct news {
	pid_t child;
	int inside; /* result of a connect in the sandbox's cgroup */
	int sent; /* of a send there */
	int outside; /* the same after the child has left it */
};

/* The child that is not known: tries, leaves, tries, tells, then makes a call that we look at. */
static void be_forgotten(int news_fd)
{
	struct news news = {.child = getpid()};

	news.inside = try_connect();
	news.sent = try_send();
	/* By an inherited descriptor, opened before it was born: no call of its own that is looked at. */
	if (write(100, "0", 1) != 1)
		_exit(1);
	news.outside = try_connect();
	if (write(news_fd, &news, sizeof(news)) != sizeof(news))
		_exit(1);
	for (;;) {
		close(open("/dev/null", O_RDONLY));
		usleep(WAIT_STEP_US);
	}
}

/* The first process of the sandbox: says that it is there, waits for the go, forks. */
static void be_first(int go_fd, int news_fd)
{
	char path[4200], byte;
	int fd;

	move(box, 0);
	snprintf(path, sizeof(path), "%s/cgroup.procs", other);
	fd = open(path, O_WRONLY);
	if (fd < 0 || dup2(fd, 100) != 100)
		fail(path);
	if (read(go_fd, &byte, 1) != 1)
		_exit(1);
	if (!fork())
		be_forgotten(news_fd);
	pause();
	_exit(0);
}

static __u64 count_of(__u32 kind)
{
	int cpus = libbpf_num_possible_cpus(), cpu;
	struct sl_counters *values = calloc(cpus, sizeof(*values));
	__u64 sum = 0;
	__u32 zero = 0;

	if (!values || bpf_map_lookup_elem(map("sl_counters"), &zero, values))
		fail("sl_counters");
	for (cpu = 0; cpu < cpus; cpu++)
		sum += kind ? values[cpu].kinds[kind].submitted : values[cpu].identity_failures;
	free(values);
	return sum;
}

int main(int argc, char **argv)
{
	int go[2], news_pipe[2];
	struct sl_sandbox sandbox = {};
	struct news news = {};
	__u64 id;
	pid_t first;

	if (argc < 4)
		return 2;
	snprintf(box, sizeof(box), "%s/box", argv[2]);
	snprintf(other, sizeof(other), "%s/other", argv[2]);
	load(argv[1], argv[2]);
	make_sandbox(&id);
	move(other, 0);
	if (pipe(go) || pipe(news_pipe))
		fail("pipe");
	first = fork();
	if (!first)
		be_first(go[0], news_pipe[1]);
	usleep(50 * WAIT_STEP_US); /* until it waits for the go: it must not open anything after it */
	set_forget(atoi(argv[3]));
	if (write(go[1], "g", 1) != 1 || read(news_pipe[0], &news, sizeof(news)) != sizeof(news))
		fail("news");
	printf("inside %d\nsent %d\noutside %d\n", news.inside, news.sent, news.outside);
	printf("stranger %d\nstrangerSent %d\n", try_connect(), try_send());
	printf("parentStopped %d\n", is_stopped(first, atoi(argv[3]) ? WAIT_STEPS : FEW_STEPS));
	set_forget(0);
	if (argc == 5) /* it is known again by this; we, who move it, go on */
		move(box, news.child);
	else if (atoi(argv[3]) == 1)
		printf("childStopped %d\n", is_stopped(news.child, WAIT_STEPS));
	bpf_map_lookup_elem(map("sl_sandboxes"), &id, &sandbox);
	printf("flags %u\ntold %llu\nfailures %llu\n", sandbox.flags, count_of(SL_KIND_QUARANTINE), count_of(0));
	kill(news.child, SIGKILL);
	kill(first, SIGKILL);
	waitpid(first, NULL, 0);
	return 0;
}
