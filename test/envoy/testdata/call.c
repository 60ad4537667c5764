// Calls the URLs that are its arguments, and prints of each the Host that the callee saw.

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

static int call(const char *url) {
	char host[256], port[6];
	if (sscanf(url, "http://%255[^:/]:%5[0-9]/", host, port) != 2) {
		fprintf(stderr, "%s: expected http://HOST:PORT/\n", url);
		return 1;
	}
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	int failed = getaddrinfo(host, port, &hints, &found);
	if (failed) {
		fprintf(stderr, "%s: %s\n", host, gai_strerror(failed));
		return 1;
	}
	int s = socket(found->ai_family, SOCK_STREAM, 0);
	if (s < 0 || connect(s, found->ai_addr, found->ai_addrlen)) {
		perror(host);
		return 1;
	}
	freeaddrinfo(found);
	FILE *out = fdopen(s, "w"), *in = fdopen(s, "r");
	fprintf(out, "GET / HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n\r\n", host, port);
	fflush(out);
	char line[1024];
	const char *name = "saw-host:";
	while (fgets(line, sizeof line, in))
		if (!strncasecmp(line, name, strlen(name)))
			printf("%s\n", strtok(line + strlen(name), " \r\n"));
	fclose(in);
	return 0;
}

int main(int count, char **args) {
	for (int i = 1; i < count; i++)
		if (call(args[i]))
			return 1;
	return 0;
}
