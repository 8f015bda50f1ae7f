// SPDX-License-Identifier: Apache-2.0
/*
 * Stands between the supervisor and the command of a sandbox: it waits until its own process was put into the sandbox, gives up what
 * the command must not have, and becomes the command. So there is no instruction of the command that is not watched.
 *
 *   launch --sync-fd N --status-fd M [--user NAME|UID | --uid U --gid G] [--keep-privileges] [--new-privs] [--hide DIR]… [--cover FILE]… [--confine [--apart]] [--env NAME=VALUE]… --chdir DIR -- CMD ARGS…
 *
 *   launch --layers    says what this kernel has: `landlock ABI`
 *
 * One byte 'G' on the sync fd is the go. Its end, or any other byte, means that nobody watches: nothing is run. A failure is one line
 * `<stage> <errno>` on the status fd; the fd closing without a line means that the command runs. Exit codes: 127 the command was not
 * found, 126 it could not be executed, 125 everything else. Its stdin, stdout and stderr are the command's and are not touched.
 */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EXIT_OURS = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

#define GO 'G'
#define DEFAULT_PATH "/bin:/usr/bin" /* of execvp(3) where there is no PATH */
#define HIDDEN_MAX 16
#define COVERED_MAX 256
#define ENV_MAX 64
#define FIRST_FD 3 /* after stdin, stdout and stderr */
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2) /* include/uapi/linux/close_range.h */
#endif

struct launch {
	int sync_fd;
	int status_fd;
	const char *user;
	long uid; /* -1 = not given */
	long gid;
	bool keep_privileges;
	bool new_privs;
	const char *dir;
	const char *hidden[HIDDEN_MAX]; /* folders */
	size_t hidden_count;
	const char *covered[COVERED_MAX]; /* files */
	size_t covered_count;
	bool confine;
	bool apart;
	char *env[ENV_MAX]; /* of the command, and not of ours */
	size_t env_count;
	char **command;
	long files_soft_limit; /* of open descriptors; -1 = as it is */
};

static int fail_with(int status_fd, const char *stage, int err, int code)
{
	char line[64];
	int length = snprintf(line, sizeof(line), "%s %d\n", stage, err);

	/* If nobody reads it any more, there is nobody to tell. */
	if (status_fd >= 0 && write(status_fd, line, (size_t)length) < 0)
		return code;
	return code;
}

static int fail(const struct launch *launch, const char *stage, int err)
{
	return fail_with(launch->status_fd, stage, err, EXIT_OURS);
}

/* A decimal number up to `max`, or -1. */
static long parse_number(const char *text, long max)
{
	char *end;
	long value;

	if (*text < '0' || *text > '9')
		return -1;
	errno = 0;
	value = strtol(text, &end, 10);
	return *end || errno || value > max ? -1 : value;
}

static bool is_open(int fd)
{
	return fd >= 0 && fcntl(fd, F_GETFD) >= 0;
}

static bool parse_options(int argc, char **argv, struct launch *ret)
{
	enum { SYNC_FD = 1, STATUS_FD, USER, UID, GID, KEEP, NEW_PRIVS, CHDIR, FILES, HIDE, ENV, COVER, CONFINE, APART };
	static const struct option options[] = {
		{"sync-fd", required_argument, NULL, SYNC_FD},
		{"status-fd", required_argument, NULL, STATUS_FD},
		{"user", required_argument, NULL, USER},
		{"uid", required_argument, NULL, UID},
		{"gid", required_argument, NULL, GID},
		{"keep-privileges", no_argument, NULL, KEEP},
		{"new-privs", no_argument, NULL, NEW_PRIVS},
		{"chdir", required_argument, NULL, CHDIR},
		{"files-soft-limit", required_argument, NULL, FILES},
		{"hide", required_argument, NULL, HIDE},
		{"env", required_argument, NULL, ENV},
		{"cover", required_argument, NULL, COVER},
		{"confine", no_argument, NULL, CONFINE},
		{"apart", no_argument, NULL, APART},
		{NULL, 0, NULL, 0},
	};
	bool good = true;
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (option) {
		case SYNC_FD:
			ret->sync_fd = (int)parse_number(optarg, INT_MAX);
			break;
		case STATUS_FD:
			ret->status_fd = (int)parse_number(optarg, INT_MAX);
			break;
		case USER:
			ret->user = optarg;
			break;
		case UID:
			ret->uid = parse_number(optarg, UINT_MAX - 1L);
			good = good && ret->uid >= 0;
			break;
		case GID:
			ret->gid = parse_number(optarg, UINT_MAX - 1L);
			good = good && ret->gid >= 0;
			break;
		case KEEP:
			ret->keep_privileges = true;
			break;
		case NEW_PRIVS:
			ret->new_privs = true;
			break;
		case CHDIR:
			ret->dir = optarg;
			break;
		case FILES:
			ret->files_soft_limit = parse_number(optarg, LONG_MAX - 1);
			good = good && ret->files_soft_limit >= 0;
			break;
		case HIDE:
			good = good && ret->hidden_count < HIDDEN_MAX;
			if (good)
				ret->hidden[ret->hidden_count++] = optarg;
			break;
		case COVER:
			good = good && ret->covered_count < COVERED_MAX;
			if (good)
				ret->covered[ret->covered_count++] = optarg;
			break;
		case CONFINE:
			ret->confine = true;
			break;
		case APART:
			ret->apart = true;
			break;
		case ENV:
			good = good && ret->env_count < ENV_MAX && strchr(optarg, '=');
			if (good)
				ret->env[ret->env_count++] = optarg;
			break;
		default:
			good = false;
		}
	}
	ret->command = argv + optind;
	if (!is_open(ret->status_fd)) {
		ret->status_fd = -1;
		good = false;
	}
	if ((ret->uid < 0) != (ret->gid < 0) || (ret->user && ret->uid >= 0))
		good = false;
	return good && is_open(ret->sync_fd) && ret->sync_fd != ret->status_fd && ret->dir && optind < argc;
}

static int find_user(const struct launch *launch, struct launch_user *ret_user)
{
	if (launch->user)
		return user_by_text(launch->user, ret_user);
	if (launch->uid >= 0)
		return user_by_ids((uid_t)launch->uid, (gid_t)launch->gid, ret_user);
	return 0;
}

static bool wait_for_go(int fd)
{
	char byte = 0;
	ssize_t got;

	do {
		got = read(fd, &byte, 1);
	} while (got < 0 && errno == EINTR);
	return got == 1 && byte == GO;
}

/* The command starts with what a shell would give it, whatever Node and we changed for ourselves. */
static int reset_signals(void)
{
	struct sigaction fallback = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int number = 1; number < NSIG; number++) {
		/* Those that can't be changed, and the two that libc keeps to itself, are refused: nothing to reset. */
		if (sigaction(number, &fallback, NULL) && errno != EINVAL)
			return errno;
	}
	sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL) ? errno : 0;
}

/* Node raises its own soft limit of open files as it starts; the command gets the one its caller has. */
static int restore_files_limit(long soft)
{
	struct rlimit limit;

	if (soft < 0)
		return 0;
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return errno;
	limit.rlim_cur = (rlim_t)soft < limit.rlim_max ? (rlim_t)soft : limit.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &limit) ? errno : 0;
}

/* Layers that take no_new_privs, or CAP_SYS_ADMIN. Returns the exit code of a failure, or 0. */
static int add_layers(const struct launch *launch)
{
	int err = terminal_refuse_typing();

	if (!err && launch->confine) {
		err = landlock_keep_apart();
		if (!err && launch->apart)
			err = landlock_keep_memory();
		if (err)
			return fail(launch, "landlock", err);
		err = calls_refuse();
		if (!err && launch->apart)
			err = calls_refuse_tracing();
	}
	return err ? fail(launch, "seccomp", err) : 0;
}

/* Gives up what the command must not have. Returns the exit code of a failure, or 0. */
static int confine(const struct launch *launch, const struct launch_user *user)
{
	int err = launch->new_privs ? add_layers(launch) : 0;

	if (err)
		return err;
	if (!launch->keep_privileges) {
		err = privileges_drop(!launch->new_privs);
		if (err)
			return fail(launch, "capabilities", err);
	}
	if (user->given) {
		err = privileges_usual_rules();
		if (err)
			return fail(launch, "capabilities", err);
		err = user_become(user);
		if (err)
			return fail(launch, "user", err);
	}
	if (!launch->new_privs) {
		err = privileges_forbid_new();
		if (err)
			return fail(launch, "no_new_privs", err);
		return add_layers(launch);
	}
	return 0;
}

/* What the loader would have obeyed while we were still somebody else comes last, for the command alone. */
static int set_environment(const struct launch *launch, const struct launch_user *user)
{
	int err = user->given ? user_set_environment(user) : 0;

	for (size_t i = 0; i < launch->env_count && !err; i++)
		err = putenv(launch->env[i]) ? errno : 0;
	return err;
}

/*
 * Where the shell's search would find the program. Done by looking and not, as execvp does, by trying: each try would be in the
 * record as an exec of the command's that failed. Returns 0 or a positive errno.
 */
static int find_program(const char *name, char ret_path[static PATH_MAX])
{
	const char *search = getenv("PATH");
	int err = ENOENT;

	if (strchr(name, '/') || !*name)
		return snprintf(ret_path, PATH_MAX, "%s", name) < PATH_MAX ? 0 : ENAMETOOLONG;
	for (const char *dir = search ? search : DEFAULT_PATH; dir; dir = strchr(dir, ':') ? strchr(dir, ':') + 1 : NULL) {
		int len = (int)strcspn(dir, ":");
		struct stat file;

		/* An empty entry is the current directory. */
		if (snprintf(ret_path, PATH_MAX, "%.*s/%s", len ? len : 1, len ? dir : ".", name) >= PATH_MAX)
			continue;
		if (stat(ret_path, &file) || !S_ISREG(file.st_mode))
			continue;
		if (!faccessat(AT_FDCWD, ret_path, X_OK, AT_EACCESS))
			return 0;
		err = EACCES;
	}
	return err;
}

int main(int argc, char **argv)
{
	char path[PATH_MAX];
	struct launch launch = {.sync_fd = -1, .status_fd = -1, .uid = -1, .gid = -1, .files_soft_limit = -1};
	struct launch_user user = {0};
	int code, err;

	/* A supervisor that died must not be what kills us: the exit code would be lost. */
	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && !strcmp(argv[1], "--layers"))
		return printf("landlock %d\n", landlock_abi()) < 0 ? EXIT_OURS : 0;
	if (!parse_options(argc, argv, &launch))
		return fail(&launch, "usage", EINVAL);
	if (fcntl(launch.status_fd, F_SETFD, FD_CLOEXEC) || fcntl(launch.sync_fd, F_SETFD, FD_CLOEXEC))
		return fail(&launch, "usage", errno);
	/* Nor does the command get any other descriptor that came this far by accident. Linux 5.11; before it they go through. */
	syscall(SYS_close_range, FIRST_FD, ~0U, CLOSE_RANGE_CLOEXEC);
	err = find_user(&launch, &user);
	if (err)
		return fail(&launch, "user", err);
	/* Before it is watched: these mounts are not the command's. */
	err = mounts_hide(&(struct launch_covers){
		.dirs = launch.hidden,
		.dir_count = launch.hidden_count,
		.files = launch.covered,
		.file_count = launch.covered_count,
	});
	if (err)
		return fail(&launch, "hide", err);
	if (!wait_for_go(launch.sync_fd))
		return fail(&launch, "sync", 0);
	close(launch.sync_fd);
	code = confine(&launch, &user);
	if (code)
		return code;
	if (chdir(launch.dir))
		return fail(&launch, "chdir", errno);
	err = set_environment(&launch, &user);
	if (err)
		return fail(&launch, "environment", err);
	err = restore_files_limit(launch.files_soft_limit);
	if (err)
		return fail(&launch, "limits", err);
	err = reset_signals();
	if (err)
		return fail(&launch, "signals", err);
	err = find_program(launch.command[0], path);
	if (!err) {
		/* With a slash in it nothing is searched; a script without #! is still given to the shell. */
		execvp(path, launch.command);
		err = errno;
	}
	/* Reset to default just now; a dead reader must not turn the exit code into a signal. */
	signal(SIGPIPE, SIG_IGN);
	return fail_with(launch.status_fd, "exec", err, err == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}
