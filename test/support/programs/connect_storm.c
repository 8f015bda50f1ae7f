// SPDX-License-Identifier: Apache-2.0
/*
 * Connects as fast as it can on several threads for a while, each time with a new socket, and sends a text of its own where it got through:
 * connect_storm THREADS MILLISECONDS ADDRESS PORT PREFIX KEEP. KEEP 1: what is connected stays open until the end. Prints how many got
 * through, how many were refused with EPERM, how many failed otherwise, and the nanoseconds from before the first to after the last.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in to;
static atomic_long through, refused, failed;
static atomic_llong last_ns;
static long long end_ns;
static const char *prefix;
static int keep;

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void note_last(void)
{
	long long now = now_ns(), before = last_ns;

	while (before < now && !atomic_compare_exchange_weak(&last_ns, &before, now))
		;
}

static void try_once(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char text[64];
	int len;

	if (fd < 0) {
		failed++;
		return;
	}
	if (!connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		note_last();
		len = snprintf(text, sizeof(text), "%s-%ld.", prefix, atomic_fetch_add(&through, 1));
		if (write(fd, text, len) != len)
			failed++;
		if (keep)
			return;
	} else if (errno == EPERM) {
		refused++;
	} else {
		failed++;
	}
	close(fd);
}

static void *storm(void *unused)
{
	while (now_ns() < end_ns)
		try_once();
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t threads[64];
	long long begin_ns;
	int count, i;

	if (argc != 7)
		return 2;
	count = atoi(argv[1]);
	to.sin_family = AF_INET;
	to.sin_port = htons(atoi(argv[4]));
	prefix = argv[5];
	keep = atoi(argv[6]);
	if (count < 1 || count > 64 || inet_pton(AF_INET, argv[3], &to.sin_addr) != 1)
		return 2;
	begin_ns = now_ns();
	end_ns = begin_ns + atoi(argv[2]) * 1000000LL;
	for (i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, storm, NULL))
			return 1;
	for (i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	printf("%ld %ld %ld %lld\n", through, refused, failed, (last_ns ? last_ns : begin_ns) - begin_ns);
	return 0;
}
