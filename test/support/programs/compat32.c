// SPDX-License-Identifier: Apache-2.0
/*
 * A 32-bit program, without a C library so that it needs no 32-bit one: `compat32 ENTRY FOLDER PORT`. Opens, changes, connects and
 * executes by the 32-bit system calls, through ENTRY: `int80`, or `vsyscall`, which is whatever the processor has (sysenter, syscall).
 * Last it becomes itself once more (a fourth argument), and then /bin/true, a 64-bit program. Compile with -m32 -nostdlib -static.
 */

/* arch/x86/entry/syscalls/syscall_32.tbl */
enum {
	EXIT = 1,
	OPEN = 5,
	CLOSE = 6,
	LINK = 9,
	UNLINK = 10,
	EXECVE = 11,
	CHMOD = 15,
	RENAME = 38,
	MKDIR = 39,
	RMDIR = 40,
	SYMLINK = 83,
	SOCKETCALL = 102,
	TRUNCATE64 = 193,
	OPENAT = 295,
	SOCKET = 359,
	CONNECT = 362,
	OPENAT2 = 437,
};

enum { AT_NULL = 0, AT_SYSINFO = 32 };
enum { AF_INET = 2, SOCK_STREAM = 1, SYS_CONNECT = 3 };
enum { O_WRONLY = 01, O_CREAT = 0100, AT_FDCWD = -100, NOT_ALLOWED = 77 };

static unsigned long vsyscall;

static long call(long nr, long a, long b, long c, long d)
{
	long ret;

	if (vsyscall)
		__asm__ volatile("call *%1" : "=a"(ret) : "m"(vsyscall), "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
	else
		__asm__ volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
	return ret;
}

static int number(const char *text)
{
	int value = 0;

	while (*text)
		value = value * 10 + *text++ - '0';
	return value;
}

/* FOLDER/NAME in one of a few buffers. */
static char *in(const char *folder, const char *name)
{
	static char buffers[4][4096];
	static int next;
	char *path = buffers[next++ & 3], *at = path;

	while (*folder)
		*at++ = *folder++;
	*at++ = '/';
	while (*name)
		*at++ = *name++;
	*at = 0;
	return path;
}

static void change_files(const char *dir)
{
	struct {
		unsigned long long flags, mode, resolve;
	} how = {O_WRONLY, 0, 0};

	call(CLOSE, call(OPEN, (long)in(dir, "old"), O_WRONLY | O_CREAT, 0600, 0), 0, 0, 0);
	call(CLOSE, call(OPENAT, AT_FDCWD, (long)in(dir, "old"), O_WRONLY, 0), 0, 0, 0);
	call(CLOSE, call(OPENAT2, AT_FDCWD, (long)in(dir, "old"), (long)&how, sizeof(how)), 0, 0, 0);
	call(TRUNCATE64, (long)in(dir, "old"), 0, 0, 0);
	call(CHMOD, (long)in(dir, "old"), 0640, 0, 0);
	call(RENAME, (long)in(dir, "old"), (long)in(dir, "new"), 0, 0);
	call(LINK, (long)in(dir, "new"), (long)in(dir, "link"), 0, 0);
	call(SYMLINK, (long)"new", (long)in(dir, "symlink"), 0, 0);
	call(UNLINK, (long)in(dir, "new"), 0, 0, 0);
	call(MKDIR, (long)in(dir, "dir"), 0700, 0, 0);
	call(RMDIR, (long)in(dir, "dir"), 0, 0, 0);
}

static void connect_to(int port)
{
	struct {
		unsigned short family, port;
		unsigned char address[4];
		char pad[8];
	} address = {AF_INET, (unsigned short)(port << 8 | port >> 8), {127, 0, 0, 1}, {0}};
	unsigned long args[3] = {0, (unsigned long)&address, sizeof(address)};

	call(CONNECT, call(SOCKET, AF_INET, SOCK_STREAM, 0, 0), (long)&address, sizeof(address), 0);
	args[0] = call(SOCKET, AF_INET, SOCK_STREAM, 0, 0);
	call(SOCKETCALL, SYS_CONNECT, (long)args, 0, 0);
}

/* What the kernel put on the stack: argc, argv, NULL, environment, NULL, auxiliary vector. */
__attribute__((used)) static int start(char **stack)
{
	int argc = (int)(long)stack[0];
	char **argv = stack + 1, **envp = argv + argc + 1, **at = envp;
	char *again[] = {"compat32", argv[1], argv[2], argv[3], "odd \xff\n bytes", 0};
	char *last[] = {"true", "from-32-bit", 0};

	if (argc < 4)
		return 2;
	while (*at)
		at++;
	if (argv[1][0] == 'v') {
		for (at++; (unsigned long)at[0] != AT_NULL; at += 2)
			if ((unsigned long)at[0] == AT_SYSINFO)
				vsyscall = (unsigned long)at[1];
		if (!vsyscall)
			return NOT_ALLOWED;
	}
	if (argc > 4) {
		call(EXECVE, (long)"/bin/true", (long)last, (long)envp, 0);
		return 3;
	}
	change_files(argv[2]);
	connect_to(number(argv[3]));
	call(EXECVE, (long)in(argv[2], "none"), (long)last, (long)envp, 0);
	call(EXECVE, (long)"/proc/self/exe", (long)again, (long)envp, 0);
	return 4;
}

__attribute__((naked, noreturn)) void _start(void)
{
	__asm__ volatile("mov %%esp, %%eax\n"
			 "and $-16, %%esp\n"
			 "sub $12, %%esp\n"
			 "push %%eax\n"
			 "call start\n"
			 "mov %%eax, %%ebx\n"
			 "mov %0, %%eax\n"
			 "int $0x80\n" ::"i"(EXIT));
}
