// Preloaded into a server that can only listen on every address: it listens on loopback instead.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <string.h>
#include <sys/socket.h>

int bind(int socket, const struct sockaddr *address, socklen_t length) {
  int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "bind");
  struct sockaddr_in changed;
  if (address->sa_family == AF_INET && length >= sizeof changed) {
    memcpy(&changed, address, sizeof changed);
    if (changed.sin_addr.s_addr == htonl(INADDR_ANY)) {
      changed.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      return next(socket, (struct sockaddr *)&changed, sizeof changed);
    }
  }
  return next(socket, address, length);
}
