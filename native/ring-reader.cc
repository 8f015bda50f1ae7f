// SPDX-License-Identifier: Apache-2.0
#include "ring-reader.h"

#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

#include "abi.h"
#include "args.h"
#include "env-state.h"
#include "error.h"
#include "event-encoder.h"
#include "object.h"
#include "poll.h"

namespace
{
constexpr int64_t EVENTS_MAX = INT32_MAX;

/* Read before the kernel is told that it has their room again; of a small ring an eighth. */
constexpr uint64_t FREE_BYTES = 32 * 1024;
/* How far ahead of the record at hand memory is asked for, and how much. */
constexpr size_t AHEAD_BYTES = 1024;
constexpr size_t PREFETCHED_BYTES = 256;
constexpr size_t CACHE_LINE = 64;

struct Drained {
	size_t bytes = 0;
	uint32_t events = 0;
	uint32_t malformed = 0;
	bool more = false;
	uint64_t last_time_ns = 0;
};

/* The two counters and the data of the ring, as mapped. */
class Ring
{
public:
	~Ring()
	{
		size_t page = page_size();

		if (consumer_)
			munmap(consumer_, page);
		if (producer_)
			munmap(const_cast<uint64_t *>(producer_), page + 2 * size_);
	}

	/* `size` is the map's max_entries. Returns a positive errno or 0. */
	int map(int fd, size_t size)
	{
		size_t page = page_size();
		void *at = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		if (at == MAP_FAILED)
			return errno;
		consumer_ = static_cast<uint64_t *>(at);
		/* The kernel maps the data twice in a row, so that no record is ever split. */
		at = mmap(nullptr, page + 2 * size, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(page));
		if (at == MAP_FAILED)
			return errno;
		producer_ = static_cast<const uint64_t *>(at);
		data_ = static_cast<const uint8_t *>(at) + page;
		size_ = size;
		free_bytes_ = size / 8 < FREE_BYTES ? size / 8 : FREE_BYTES;
		return 0;
	}

	/* Up to where the ring was filled when it was called; what comes meanwhile is for the next call. */
	void drain(uint8_t *out, size_t room, uint32_t events_max, Drained *ret)
	{
		uint64_t at = *consumer_;
		uint64_t freed = at;
		uint64_t end = __atomic_load_n(producer_, __ATOMIC_ACQUIRE);

		while (at < end) {
			const uint8_t *header = data_ + (at & (size_ - 1));
			uint32_t length = __atomic_load_n(reinterpret_cast<const uint32_t *>(header), __ATOMIC_ACQUIRE);

			if (length & BPF_RINGBUF_BUSY_BIT) {
				/* A CPU is still writing it; complete ones may wait behind. */
				ret->more = true;
				break;
			}
			size_t used = length & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

			prefetch(header + AHEAD_BYTES);
			if (!(length & BPF_RINGBUF_DISCARD_BIT) &&
			    !take(header + BPF_RINGBUF_HDR_SZ, used, out, room, events_max, ret))
				break;
			at += (used + BPF_RINGBUF_HDR_SZ + 7) & ~static_cast<size_t>(7);
			if (at - freed >= free_bytes_) {
				free_until(at);
				freed = at;
			}
		}
		if (at != freed)
			free_until(at);
	}

	const uint64_t *taken() const
	{
		return taken_;
	}

	const uint64_t *waiting() const
	{
		return waiting_;
	}

	/*
	 * Counts what waits and leaves it there; only before the first drain. Called again, it goes on where it ended. False if a record is
	 * still being written.
	 */
	bool look_ahead()
	{
		uint64_t end = __atomic_load_n(producer_, __ATOMIC_ACQUIRE);

		if (looked_ < *consumer_)
			looked_ = *consumer_;
		while (looked_ < end) {
			const uint8_t *header = data_ + (looked_ & (size_ - 1));
			uint32_t length = __atomic_load_n(reinterpret_cast<const uint32_t *>(header), __ATOMIC_ACQUIRE);
			size_t used = length & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

			if (length & BPF_RINGBUF_BUSY_BIT)
				return false;
			if (!(length & BPF_RINGBUF_DISCARD_BIT))
				waiting_[kind_of(header + BPF_RINGBUF_HDR_SZ, used)] +=
					encode_event(header + BPF_RINGBUF_HDR_SZ, used, nullptr, 0).happened;
			looked_ += (used + BPF_RINGBUF_HDR_SZ + 7) & ~static_cast<size_t>(7);
		}
		return true;
	}

private:
	/*
	 * Gives what was read back to the kernel, which asks for the position in two places: for room when it reserves a record, and
	 * to wake a sleeper when it commits one (only if the position is that very record). Every record that moves it takes the cache
	 * line away from the producing CPUs, so it moves once in `free_bytes_` and at the end of a call. For room that is harmless: a
	 * producer sees at most `free_bytes_` less than there is. For wake-ups too: nobody sleeps while this runs, and a record that was
	 * committed against the old position is found by arm(): poll compares the two positions as they are by then, and each side
	 * writes its own position before it reads the other's.
	 */
	void free_until(uint64_t at)
	{
		__atomic_store_n(consumer_, at, __ATOMIC_RELEASE);
	}

	/* A hint: an address beyond the ring does no harm. */
	static void prefetch(const uint8_t *ahead)
	{
		for (size_t line = 0; line < PREFETCHED_BYTES; line += CACHE_LINE)
			__builtin_prefetch(ahead + line);
	}

	static size_t page_size()
	{
		return static_cast<size_t>(sysconf(_SC_PAGESIZE));
	}

	static uint32_t kind_of(const uint8_t *record, size_t size)
	{
		uint32_t kind =
			size < sizeof(struct sl_event_hdr) ? 0 : reinterpret_cast<const struct sl_event_hdr *>(record)->kind;

		return kind < SL_KINDS_MAX ? kind : 0;
	}

	/* False if the record has to wait for the next call. */
	bool take(const uint8_t *record, size_t size, uint8_t *out, size_t room, uint32_t events_max, Drained *ret)
	{
		if (ret->events >= events_max) {
			ret->more = true;
			return false;
		}
		EncodedEvent encoded = encode_event(record, size, out + ret->bytes, room - ret->bytes);

		if (!encoded.bytes) {
			taken_[kind_of(record, size)]++;
			ret->malformed++;
			return true;
		}
		if (!encoded.fits) {
			ret->more = true;
			return false;
		}
		taken_[kind_of(record, size)] += encoded.happened;
		ret->bytes += encoded.bytes;
		ret->events++;
		if (encoded.time_ns > ret->last_time_ns)
			ret->last_time_ns = encoded.time_ns;
		return true;
	}

	uint64_t taken_[SL_KINDS_MAX] = {};
	/* What `look_ahead` has seen of what waits, and up to where. */
	uint64_t waiting_[SL_KINDS_MAX] = {};
	uint64_t looked_ = 0;
	uint64_t *consumer_ = nullptr;
	const uint64_t *producer_ = nullptr;
	const uint8_t *data_ = nullptr;
	size_t size_ = 0;
	uint64_t free_bytes_ = 0;
};

class RingReader : public Handle, public std::enable_shared_from_this<RingReader>
{
public:
	RingReader(std::shared_ptr<EnvState> state, std::string name) : Handle(std::move(state)), name_(std::move(name))
	{
	}

	~RingReader() override
	{
		close();
	}

	/* Takes a duplicate of `map_fd`, so that the reader doesn't depend on the object it came from. Returns an errno or 0. */
	int open(Napi::Env env, int map_fd, size_t size)
	{
		int err;

		fd_ = fcntl(map_fd, F_DUPFD_CLOEXEC, 0);
		if (fd_ < 0)
			return errno;
		ring_ = std::make_unique<Ring>();
		err = ring_->map(fd_, size);
		if (err)
			return err;
		poll_ = Poll::make(env, state_, fd_, &err);
		return poll_ ? 0 : err;
	}

	void close() override
	{
		disarm();
		if (poll_)
			poll_->close();
		poll_ = nullptr;
		if (fd_ >= 0)
			::close(fd_);
		fd_ = -1;
		ring_.reset();
	}

	Napi::Value drain(const Napi::CallbackInfo &info);
	Napi::Value arm(const Napi::CallbackInfo &info);
	Napi::Value taken(const Napi::CallbackInfo &info);
	Napi::Value waiting(const Napi::CallbackInfo &info);

	void disarm()
	{
		if (poll_ && !callback_.IsEmpty())
			poll_->stop();
		callback_.Reset();
		/* Last: this may be what kept us alive, so the caller holds a reference. */
		if (!state_->kept.empty())
			state_->kept.erase(weak_from_this().lock());
	}

private:
	static void on_ready(void *owner)
	{
		std::shared_ptr<RingReader> self = static_cast<RingReader *>(owner)->shared_from_this();

		call_waiting(&self->callback_, [&self] { self->state_->kept.erase(self); });
	}

	std::string name_;
	int fd_ = -1;
	std::unique_ptr<Ring> ring_;
	Poll *poll_ = nullptr;
	Napi::FunctionReference callback_;
};

Napi::Value RingReader::drain(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Drained drained;
	int64_t events_max;
	Bytes buffer;

	if (!ring_)
		return throw_closed(env, "ring " + name_);
	if (!arg_bytes(info, 0, "buffer", &buffer) || !arg_integer(info, 1, "maxEvents", 1, EVENTS_MAX, &events_max))
		return env.Undefined();
	if (buffer.size < ENCODED_EVENT_MAX)
		return throw_argument(env, "buffer", "must be at least " + std::to_string(ENCODED_EVENT_MAX) + " bytes long");
	ring_->drain(buffer.data, buffer.size, static_cast<uint32_t>(events_max), &drained);

	Napi::Object result = Napi::Object::New(env);

	result.Set("bytes", Napi::Number::New(env, static_cast<double>(drained.bytes)));
	result.Set("events", Napi::Number::New(env, drained.events));
	result.Set("malformed", Napi::Number::New(env, drained.malformed));
	result.Set("more", Napi::Boolean::New(env, drained.more));
	result.Set("lastTimeNs", Napi::BigInt::New(env, drained.last_time_ns));
	return result;
}

static Napi::Value by_kind(Napi::Env env, const uint64_t *counts)
{
	Napi::Array result = Napi::Array::New(env, SL_KINDS_MAX);

	for (uint32_t kind = 0; kind < SL_KINDS_MAX; kind++)
		result.Set(kind, Napi::Number::New(env, static_cast<double>(counts[kind])));
	return result;
}

Napi::Value RingReader::taken(const Napi::CallbackInfo &info)
{
	return ring_ ? by_kind(info.Env(), ring_->taken()) : throw_closed(info.Env(), "ring " + name_);
}

Napi::Value RingReader::waiting(const Napi::CallbackInfo &info)
{
	if (!ring_)
		return throw_closed(info.Env(), "ring " + name_);
	return ring_->look_ahead() ? by_kind(info.Env(), ring_->waiting()) : info.Env().Null();
}

Napi::Value RingReader::arm(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Napi::Function ready;

	if (!poll_)
		return throw_closed(env, "ring " + name_);
	if (!arg_function(info, 0, "ready", &ready))
		return env.Undefined();
	callback_ = Napi::Persistent(ready);

	int err = poll_->start(on_ready, this);

	if (err) {
		callback_.Reset();
		return throw_syscall(env, "waiting for ring", name_, err);
	}
	/* Somebody waits for the call, even if nobody holds the reader any more. */
	state_->kept.insert(shared_from_this());
	return env.Undefined();
}
} // namespace

Napi::Value ring_open(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	std::string map;
	RingMap ring;

	if (!arg_string(info, 1, "map", OBJECT_NAME_MAX, &map) || !object_ring(info, 0, map, &ring))
		return env.Undefined();

	auto reader = std::make_shared<RingReader>(env_state(env), map);
	int err = reader->open(env, ring.fd, ring.size);

	if (err)
		return throw_syscall(env, "opening ring", map, err);

	Napi::Object result = Napi::Object::New(env);

	add_method(result, "drain", [reader](const Napi::CallbackInfo &call) { return reader->drain(call); });
	add_method(result, "arm", [reader](const Napi::CallbackInfo &call) { return reader->arm(call); });
	add_method(result, "taken", [reader](const Napi::CallbackInfo &call) { return reader->taken(call); });
	add_method(result, "waiting", [reader](const Napi::CallbackInfo &call) { return reader->waiting(call); });
	add_method(result, "disarm", [reader](const Napi::CallbackInfo &call) -> Napi::Value {
		reader->disarm();
		return call.Env().Undefined();
	});
	add_method(result, "close", [reader](const Napi::CallbackInfo &call) -> Napi::Value {
		reader->close();
		return call.Env().Undefined();
	});
	return result;
}
