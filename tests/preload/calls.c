/* Notes the calls into libc that a Fastsocket library takes over: a line each, appended to the file $PERCORE_CALLS.
 *
 *     PROCESS CPU CALL DESCRIPTOR RESULT OPERATION
 *
 * CALL is the function of libc, or "syscall:" and what is called by its number. DESCRIPTOR is -1 where there is none;
 * OPERATION is epoll_ctl's, else 0. A close is noted before it is made, with RESULT 0, as what it tells the other side
 * may be seen at once. A line "PROCESS CPU loaded COMMAND" comes first. Each line is one write(2) to a file with
 * O_APPEND, so those of several processes do not mix.
 *
 * With $PERCORE_NO_IO_URING set a process finds a kernel without io_uring.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REAL(call) static __typeof__(call) *real; if (!real) real = (__typeof__(call) *)dlsym(RTLD_NEXT, #call)

/* HIGH is a descriptor that nobody reckons with, below the usual limit of 1024. */
enum { HIGH = 900, LONGEST = 4096 };
static int file = -1;

static void write_line(const char *line, int length)
{
    int before = errno;
    if (file >= 0 && write(file, line, (size_t)length) != length)
        abort();
    errno = before;
}

static void note(const char *call, int descriptor, int result, int operation)
{
    char line[128];
    int length = snprintf(line, sizeof line, "%d %d %s %d %d %d\n", getpid(), sched_getcpu(), call, descriptor,
                          result, operation);
    write_line(line, length);
}

static int really_close(int descriptor)
{
    REAL(close);
    return real(descriptor);
}

int close(int descriptor)
{
    note("close", descriptor, 0, 0);
    return really_close(descriptor);
}

__attribute__((constructor)) static void begin(void)
{
    char command[LONGEST] = "", line[LONGEST + 64];
    const char *path = getenv("PERCORE_CALLS");
    int low = path ? open(path, O_WRONLY | O_APPEND | O_CREAT, 0644) : -1;
    if (low < 0)
        return;
    file = fcntl(low, F_DUPFD_CLOEXEC, HIGH);
    really_close(low);
    int arguments = open("/proc/self/cmdline", O_RDONLY);
    ssize_t length = read(arguments, command, sizeof command - 1);
    really_close(arguments);
    for (ssize_t i = 0; i + 1 < length; i++)
        if (command[i] == '\0' || command[i] == '\n')
            command[i] = ' ';
    write_line(line, snprintf(line, sizeof line, "%d %d loaded %s\n", getpid(), sched_getcpu(), command));
}

int socket(int domain, int type, int protocol)
{
    REAL(socket);
    int result = real(domain, type, protocol);
    note("socket", -1, result, 0);
    return result;
}

int listen(int descriptor, int backlog)
{
    REAL(listen);
    int result = real(descriptor, backlog);
    note("listen", descriptor, result, 0);
    return result;
}

int accept(int descriptor, struct sockaddr *address, socklen_t *length)
{
    REAL(accept);
    int result = real(descriptor, address, length);
    note("accept", descriptor, result, 0);
    return result;
}

int accept4(int descriptor, struct sockaddr *address, socklen_t *length, int flags)
{
    REAL(accept4);
    int result = real(descriptor, address, length, flags);
    note("accept4", descriptor, result, 0);
    return result;
}

int shutdown(int descriptor, int how)
{
    REAL(shutdown);
    int result = real(descriptor, how);
    note("shutdown", descriptor, result, 0);
    return result;
}

int epoll_ctl(int epoll, int operation, int descriptor, struct epoll_event *event)
{
    REAL(epoll_ctl);
    int result = real(epoll, operation, descriptor, event);
    note("epoll_ctl", descriptor, result, operation);
    return result;
}

pid_t fork(void)
{
    REAL(fork);
    pid_t result = real();
    note("fork", -1, result, 0);
    return result;
}

long syscall(long number, ...)
{
    static long (*real)(long, ...);
    long argument[6];
    va_list given;
    va_start(given, number);
    for (int i = 0; i < 6; i++)
        argument[i] = va_arg(given, long);
    va_end(given);
    if (!real)
        real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    if (number == SYS_close)
        note("syscall:close", (int)argument[0], 0, 0);
    if (number == SYS_io_uring_setup && getenv("PERCORE_NO_IO_URING")) {
        errno = ENOSYS;
        return -1;
    }
    long result = real(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
    if (number == SYS_io_uring_setup)
        note("syscall:io_uring_setup", -1, (int)result, 0);
    return result;
}
