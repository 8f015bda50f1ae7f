// SPDX-License-Identifier: Apache-2.0
/*
 * Sends three datagrams in one sendmmsg, of which some are for the one address and some for the other: `many_messages ALLOWED DENIED PORT`.
 * Prints for each order how many the kernel said it had sent, and the errno where it sent none.
 */
#define _GNU_SOURCE
#include "reach.h"

#define MESSAGES 3

static void send_mixed(const struct target *const to[MESSAGES], const char *text)
{
	struct mmsghdr messages[MESSAGES] = {0};
	struct iovec parts[MESSAGES];
	char texts[MESSAGES][64];
	int fd = bounded_socket(AF_INET, SOCK_DGRAM, 0), sent;

	for (int i = 0; i < MESSAGES; i++) {
		snprintf(texts[i], sizeof(texts[i]), "mixed-%s.", i ? text : "first");
		parts[i] = (struct iovec){.iov_base = texts[i], .iov_len = strlen(texts[i])};
		messages[i].msg_hdr = (struct msghdr){
			.msg_name = (void *)&to[i]->addr, .msg_namelen = to[i]->len, .msg_iov = &parts[i], .msg_iovlen = 1};
	}
	sent = sendmmsg(fd, messages, MESSAGES, 0);
	printf("%d of %d: %d\n", sent < 0 ? 0 : sent, MESSAGES, sent < 0 ? errno : 0);
	close(fd);
}

int main(int argc, char **argv)
{
	struct target allowed, denied;

	if (argc != 4 || parse_target(&allowed, argv[1], argv[3], "") || parse_target(&denied, argv[2], argv[3], ""))
		return 2;
	send_mixed((const struct target *[]){&allowed, &denied, &allowed}, "second");
	send_mixed((const struct target *[]){&allowed, &allowed, &denied}, "third");
	send_mixed((const struct target *[]){&denied, &allowed, &allowed}, "none");
	return 0;
}
