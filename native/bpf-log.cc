// SPDX-License-Identifier: Apache-2.0
#include "bpf-log.h"

#include <cstdarg>
#include <cstdio>
#include <dlfcn.h>

#include <bpf/libbpf.h>

/* Bytes of log kept: its end. */
static constexpr size_t LOG_BYTES_MAX = 64 * 1024;
/* One message can carry the verifier's whole log, for which libbpf has at most this much room. */
static constexpr size_t MESSAGE_BYTES_MAX = 16 * 1024 * 1024 + 4096;
/* Lines of a summary. */
static constexpr int LINES_MAX = 24;

/* A distribution's libbpf.a, built without -fPIC, finds its `stderr` here (--defsym in CMakeLists.txt). */
extern "C" {
__attribute__((visibility("hidden"))) FILE *sluice_libbpf_stderr;
}

static thread_local BpfLog *current;

BpfLog::BpfLog() : outer_(current)
{
	current = this;
}

BpfLog::~BpfLog()
{
	current = outer_;
}

int collect(int level, const char *format, va_list args)
{
	va_list again;
	std::string line;
	int length;

	if (level != LIBBPF_WARN || !current)
		return 0;
	va_copy(again, args);
	length = vsnprintf(nullptr, 0, format, again);
	va_end(again);
	if (length <= 0 || static_cast<size_t>(length) > MESSAGE_BYTES_MAX)
		return 0;
	line.resize(static_cast<size_t>(length) + 1);
	vsnprintf(&line[0], line.size(), format, args);
	line.resize(static_cast<size_t>(length));
	current->text_ += line;
	if (current->text_.size() > LOG_BYTES_MAX)
		current->text_.erase(0, current->text_.size() - LOG_BYTES_MAX);
	return length;
}

static int print_hook(enum libbpf_print_level level, const char *format, va_list args)
{
	return collect(level, format, args);
}

void BpfLog::install()
{
	FILE **real = static_cast<FILE **>(dlsym(RTLD_DEFAULT, "stderr"));

	if (real)
		sluice_libbpf_stderr = *real;
	libbpf_set_print(print_hook);
}

/* `text` does not end in a newline. */
static std::string last_lines(const std::string &text, int lines)
{
	size_t start = text.size();

	for (int i = 0; i < lines; i++) {
		start = start == 0 ? std::string::npos : text.rfind('\n', start - 1);
		if (start == std::string::npos)
			return text;
	}
	return text.substr(start + 1);
}

static std::string trimmed(std::string text)
{
	while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
		text.pop_back();
	return text;
}

std::string BpfLog::summary() const
{
	static const char begin_mark[] = "-- BEGIN PROG LOAD LOG --\n";
	size_t end = text_.rfind("-- END PROG LOAD LOG --");

	if (end != std::string::npos) {
		size_t begin = text_.rfind(begin_mark, end);
		size_t from = begin == std::string::npos ? 0 : begin + sizeof(begin_mark) - 1;

		return last_lines(trimmed(text_.substr(from, end - from)), LINES_MAX);
	}
	return last_lines(trimmed(text_), LINES_MAX);
}
