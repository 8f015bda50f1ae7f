// SPDX-License-Identifier: Apache-2.0
/*
 * Connects a UDP socket to one address again and again, which sends nothing, and says what one connect took: the least and the median
 * of many batches, in ns. connects BATCHES CONNECTS ADDRESS PORT
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1e9 + at.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;

	return (one > other) - (one < other);
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;

	int batches = atoi(argv[1]), connects = atoi(argv[2]);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[4]))};
	double *took = calloc(batches, sizeof(*took));
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || !took || inet_pton(AF_INET, argv[3], &to.sin_addr) != 1)
		return 1;
	for (int i = 0; i < batches; i++) {
		double start = now_ns();

		for (int j = 0; j < connects; j++) {
			if (connect(fd, (struct sockaddr *)&to, sizeof(to))) {
				perror("connect");
				return 1;
			}
		}
		took[i] = (now_ns() - start) / connects;
	}
	qsort(took, batches, sizeof(*took), ascending);
	printf("%.1f %.1f\n", took[0], took[batches / 2]);
	return 0;
}
