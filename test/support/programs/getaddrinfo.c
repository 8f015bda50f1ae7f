/* Prints the addresses of a name as the C library that this is built with finds them, or why not. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *each;
	char text[INET6_ADDRSTRLEN];
	int err = argc > 1 ? getaddrinfo(argv[1], "443", &hints, &found) : EAI_NONAME;

	if (err) {
		puts(gai_strerror(err));
		return 1;
	}
	for (each = found; each; each = each->ai_next) {
		const void *address = each->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)each->ai_addr)->sin_addr :
								  (void *)&((struct sockaddr_in6 *)each->ai_addr)->sin6_addr;

		puts(inet_ntop(each->ai_family, address, text, sizeof(text)));
	}
	freeaddrinfo(found);
	return 0;
}
