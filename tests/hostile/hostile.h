/*
 * What a hostile guest does to virtio devices: the frame of the cases in this folder.
 *
 * A case is a function that plays a driver which means no good, on one device, and says whether the
 * device did what the checklist asks: it broke (DEVICE_NEEDS_RESET, with a configuration
 * interrupt), answered with an error, or did not care. Behind each case run.c resets the device,
 * sets it up anew and makes a good request, and makes one to another device too: both must work.
 * The table of cases, cases[] in run.c, has the line of the checklist that each belongs to.
 *
 * The same source runs in two places, which a struct port tells apart:
 *
 * - native.c: in a program of `meson test`, on the device objects themselves, where
 *   AddressSanitizer sees each step outside a ring (RAM ends at a guard page) and ThreadSanitizer
 *   each race;
 * - guest.c: in a guest without an operating system, on TeleVM itself. tests/system/test_hostile.py
 *   starts it, and looks at the monitor from outside.
 *
 * So there is no C library here, and what a case needs on the stack is small.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PAGE = 4096,
	SECTOR = 512,
	QUEUES_MAX = 5,
	QUEUE_SIZE_MAX = 256,
	SLOTS_MAX = 27,
	SCRATCH_SIZE = 1 << 20,
	/** what every byte of sector 1 of each disk is, to know it again */
	GOOD_BYTE = 0x5a,
	/** guest memory for the machine and each of its devices */
	ARENA_SIZE = 4 << 20,
};

/* ---- what differs between the two places ---- */

struct port {
	/** One access of 1, 2, 4 or 8 bytes, at any address. */
	uint64_t (*read)(struct port *port, uint64_t gpa, unsigned int len);
	void (*write)(struct port *port, uint64_t gpa, unsigned int len, uint64_t value);
	/** Let the devices work for a moment. */
	void (*rest)(struct port *port);
	/** Print a text. */
	void (*say)(struct port *port, const char *text);
	/**
	 * Call \p fn again and again on another processor, until called with NULL, which returns
	 * when the latest call of it has. \return false where there is no other
	 */
	bool (*beside)(struct port *port, void (*fn)(void *ctx), void *ctx);

	uint8_t *ram; /**< where ram_gpa is in our memory */
	uint64_t ram_gpa;
	uint64_t ram_size;
	uint64_t arena_gpa;    /**< ARENA_SIZE bytes that are the cases', page-aligned */
	uint64_t mmio_gpa;     /**< of the first slot */
	unsigned int patience; /**< rests until something that does not happen never will */
	bool can_misalign;     /**< read and write take any address: KVM does not */
	unsigned int n_races;  /**< how often to try one, on the bytes of guest memory; 0: none */
	unsigned int thrift;   /**< what is done again and again is done so many times less often */
};

/* ---- a device, as its driver sees it ---- */

/* Registers of virtio-mmio: virtio 1.2, 4.2.2. */
enum reg {
	REG_MAGIC = 0x00,
	REG_VERSION = 0x04,
	REG_DEVICE_ID = 0x08,
	REG_VENDOR_ID = 0x0c,
	REG_DEVICE_FEATURES = 0x10,
	REG_DEVICE_FEATURES_SEL = 0x14,
	REG_DRIVER_FEATURES = 0x20,
	REG_DRIVER_FEATURES_SEL = 0x24,
	REG_QUEUE_SEL = 0x30,
	REG_QUEUE_SIZE_MAX = 0x34,
	REG_QUEUE_SIZE = 0x38,
	REG_QUEUE_READY = 0x44,
	REG_QUEUE_NOTIFY = 0x50,
	REG_INTERRUPT_STATUS = 0x60,
	REG_INTERRUPT_ACK = 0x64,
	REG_STATUS = 0x70,
	REG_QUEUE_DESC = 0x80,
	REG_QUEUE_DRIVER = 0x90,
	REG_QUEUE_DEVICE = 0xa0,
	REG_CONFIG_GENERATION = 0xfc,
	REG_CONFIG = 0x100,
	WINDOW_SIZE = 0x1000,
};

enum status {
	ACKNOWLEDGE = 1,
	DRIVER = 2,
	DRIVER_OK = 4,
	FEATURES_OK = 8,
	NEEDS_RESET = 64,
	FAILED = 128,
	NEGOTIATED = ACKNOWLEDGE | DRIVER | FEATURES_OK,
	READY = NEGOTIATED | DRIVER_OK,
};

enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

enum kind {
	EVERY = 0,
	NET = 1,
	BLK = 2,
	CONSOLE = 3,
	RNG = 4,
	BALLOON = 5,
	INPUT = 18,
	VSOCK = 19,
};

#define F_INDIRECT  (UINT64_C(1) << 28)
#define F_EVENT_IDX (UINT64_C(1) << 29)
#define F_VERSION_1 (UINT64_C(1) << 32)

/* What requests begin with, as the specification has it: 5.2.6, 5.1.6 and 5.10.6. */

struct blk_header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

struct frame_header {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers;
};

struct vsock_header {
	uint64_t src_cid;
	uint64_t dst_cid;
	uint32_t src_port;
	uint32_t dst_port;
	uint32_t len;
	uint16_t type;
	uint16_t op;
	uint32_t flags;
	uint32_t buf_alloc;
	uint32_t fwd_cnt;
} __attribute__((packed));

/* Flags of a descriptor. */
enum { D_NEXT = 1, D_WRITE = 2, D_INDIRECT = 4 };

struct desc {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct used_elem {
	uint32_t head;
	uint32_t len;
};

struct ring {
	uint16_t size_max; /**< that the device offers */
	uint16_t size;
	uint64_t desc_gpa;
	uint64_t avail_gpa;
	uint64_t used_gpa;
	volatile struct desc *desc;
	volatile uint16_t *avail; /**< flags, idx, ring[size], used_event */
	volatile uint16_t *used;  /**< flags, idx, then elements of two words, avail_event */
	uint16_t next_free;       /**< descriptors are handed out round the table */
	uint16_t last_used;
};

/** A buffer of a chain. */
struct buf {
	uint64_t gpa;
	uint32_t len;
	bool is_writable;
};

struct machine;

struct dev {
	struct machine *m;
	uint64_t gpa; /**< of its registers */
	enum kind kind;
	unsigned int n_queues;
	unsigned int queue; /**< that requests go to */
	uint64_t offered;
	uint64_t good_gpa; /**< a page for good requests */
	struct ring rings[QUEUES_MAX];
};

struct machine {
	struct port *port;
	unsigned int n_devs;
	struct dev devs[SLOTS_MAX];
	uint64_t free_gpa;
	uint64_t scratch_gpa; /**< SCRATCH_SIZE bytes, zeroed for each case */
	uint32_t random;
	unsigned int n_ok;
	unsigned int n_bad;
};

/* Registers. */
uint32_t dev_read(const struct dev *d, unsigned int reg);
void dev_write(const struct dev *d, unsigned int reg, uint32_t value);
uint64_t dev_read_len(const struct dev *d, unsigned int reg, unsigned int len);
void dev_write_len(const struct dev *d, unsigned int reg, unsigned int len, uint64_t value);
uint32_t dev_status(const struct dev *d);

/** Where a guest address lies here. */
void *dev_ptr(const struct dev *d, uint64_t gpa);

/** The scratch memory of the case. */
uint64_t scratch(const struct dev *d);
uint64_t ram_end(const struct dev *d);

/* The steps of 3.1.1. */
void dev_reset(const struct dev *d);
/** \return did FEATURES_OK stay? VERSION_1 is added */
bool dev_negotiate(const struct dev *d, uint64_t features);
/** Rings of this size at the queue's own place, empty; registers are not written. */
void dev_place(struct dev *d, unsigned int queue, uint16_t size);
/** Write a queue's registers. \return is it ready? */
bool dev_set_queue(const struct dev *d, unsigned int queue);
/** All of it, with queues of full size. */
void dev_boot_with(struct dev *d, uint64_t features);
/** The same with all features that are offered. */
void dev_boot(struct dev *d);
/** The same, up to before DRIVER_OK. */
void dev_almost_boot(struct dev *d, uint64_t features);

/* The rings. */
/** Set a descriptor of the request queue. */
void dev_desc(const struct dev *d, uint16_t at, uint64_t gpa, uint32_t len, uint16_t flags,
	      uint16_t next);
/** Put a head into the available ring, whatever it is. */
void dev_offer(const struct dev *d, unsigned int queue, uint16_t head);
uint16_t dev_add(struct dev *d, unsigned int queue, const struct buf *bufs, unsigned int n_bufs);
void dev_kick(const struct dev *d, unsigned int queue);
/** Wait for a used element. \return false when the device broke, or none came */
bool dev_wait_used(struct dev *d, unsigned int queue, struct used_elem *used);
/** Is there one now? */
bool dev_take_used(struct dev *d, unsigned int queue, struct used_elem *used);

/** How often to do what is to be done \p n times, where time is no matter. */
unsigned int often(const struct dev *d, unsigned int n);

/** Let the devices do what they may, where nothing that is to happen can be waited for. */
void dev_rest(const struct dev *d);

/* ---- what cases say ---- */

/** NULL is "as it should be". */
typedef const char *verdict;

/** A case that this device has nothing to do with. */
extern const char not_applicable[];

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition))                                                                  \
			return #condition;                                                         \
	} while (0)

#define CHECK(call)                                                                                \
	do {                                                                                       \
		verdict check_result = (call);                                                     \
                                                                                                   \
		if (check_result != NULL)                                                          \
			return check_result;                                                       \
	} while (0)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/** The device says that it broke, and tells by an interrupt. */
verdict expect_broken(const struct dev *d);

/** Kick the request queue: it says that it broke. */
verdict expect_kick_breaks(const struct dev *d);

/** Kick it: one chain comes back. */
verdict expect_served(struct dev *d, struct used_elem *used);

/** Kick it: what was put there comes back, or the device breaks; it does not hang. */
verdict expect_served_or_broken(struct dev *d);

/* ---- requests that are in order ---- */

/** Put a good request into the queues of a device that is ready. */
void good_put(struct dev *d);
void good_kick(const struct dev *d);
/** Wait for it and look at the answer. */
verdict good_get(struct dev *d);
/** All three. */
verdict good(struct dev *d);
/** Descriptors of the request queue that it takes. */
unsigned int good_descs(const struct dev *d);

/* ---- cases ---- */

struct hostile_case {
	const char *line; /**< of the checklist */
	enum kind kind;
	verdict (*run)(struct dev *d);
	const char *what;
};

extern const struct hostile_case transport_cases[];
extern const struct hostile_case queue_cases[];
extern const struct hostile_case blk_cases[];
extern const struct hostile_case net_cases[];
extern const struct hostile_case vsock_cases[];
extern const struct hostile_case other_cases[];

/** Find the devices, run all cases, and print a line for each. \return did all go well? */
bool hostile_run(struct machine *m, struct port *port);

uint32_t next_random(struct machine *m);
void fill(void *to, uint8_t byte, size_t len);
