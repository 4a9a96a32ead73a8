/*
 * No names of hosts, services or protocols are ever looked up by this program. libevent could, so
 * a static program would get the C library's whole resolver with it: name services, sockets to
 * daemons, plug-ins opened at run time; 110 KB that must never run. These take the place of what
 * libevent calls, and know no name. Linked into the static program alone.
 */
#include <netdb.h>
#include <stddef.h>

/* The C library's names of parameters are reserved. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

int getaddrinfo(const char *restrict node, const char *restrict service,
		const struct addrinfo *restrict hints, struct addrinfo **restrict result)
{
	(void)node;
	(void)service;
	(void)hints;
	*result = NULL;
	return EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *info)
{
	(void)info;
}

int getnameinfo(const struct sockaddr *restrict sa, socklen_t sa_len, char *restrict host,
		socklen_t host_len, char *restrict service, socklen_t service_len, int flags)
{
	(void)sa;
	(void)sa_len;
	(void)host;
	(void)host_len;
	(void)service;
	(void)service_len;
	(void)flags;
	return EAI_NONAME;
}

const char *gai_strerror(int code)
{
	(void)code;
	return "names are not looked up";
}

struct servent *getservbyname(const char *name, const char *protocol)
{
	(void)name;
	(void)protocol;
	return NULL;
}

struct protoent *getprotobynumber(int number)
{
	(void)number;
	return NULL;
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
