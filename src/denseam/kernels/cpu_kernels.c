/* The loops over memories and classes that dominate a dense associative
 * memory once its two matrix products are done by a library.
 *
 * Layout. Overlaps are memory-major, (K, B): the vector lanes run over images,
 * a memory's class weights are scalars to them, and the matrix products need
 * no transpose. What belongs to a class and an image is worked on in tiles,
 * (tiles, C + 1, WIDTH), zero-padded. Nothing of size B*K*C is stored: powers
 * are recomputed in the backward pass, which is cheaper than moving them.
 *
 * Threads. The caller hands in the GOMP_parallel of the OpenMP runtime that
 * PyTorch has loaded, so that both share one pool instead of two that spin
 * against each other; without it, plain threads do. Work is cut into items
 * that write disjoint outputs in a fixed order: results do not depend on the
 * number of threads.
 *
 * Nothing here knows Python; kernels/cpu.py loads it through ctypes.
 */
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* One binary for every x86-64: the loader picks the widest vectors it can use. */
#if defined(__x86_64__) && defined(__gnu_linux__)
#define WIDEST __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDEST
#endif
#define INLINE static inline __attribute__((always_inline))
#define EXPORT __attribute__((visibility("default")))

enum { VECTORS = 4 };    /* independent chains hide the latency of a product */
enum { CHUNK = 64 };     /* memories per tile of the forward pass: a tile fits the first cache */
enum { AHEAD = 12 };     /* memories between asking for overlaps and using them */
enum { ROWS = 8 };       /* memories per item of the backward pass and of the update */
enum { MAX_THREADS = 256 };
enum { OK = 0, OUT_OF_MEMORY = 1 };

/* ---- threads ------------------------------------------------------------ */

typedef void (*parallel_fn)(void (*body)(void *), void *data, unsigned threads, unsigned flags);

typedef struct {
    void (*item)(const void *work, int64_t index, void *scratch);
    const void *work;
    int64_t items;
    size_t scratch; /* bytes, for each thread */
    atomic_llong next;
} queue;

/* Working space for whole vectors, to be given to free(); NULL where there is no memory. */
static void *room(size_t bytes) { return aligned_alloc(64, (bytes + 64) / 64 * 64); }

/* Subnormal powers are zero for every purpose here, and up to a hundred times slower. */
static void drain(void *data) {
    queue *q = data;
    void *scratch = room(q->scratch);
    if (!scratch) return; /* another thread takes the items; run() sees if none did */
#if defined(__x86_64__)
    const unsigned saved = _mm_getcsr();
    _mm_setcsr(saved | 0x8040u); /* flush to zero, denormals are zero */
#endif
    for (int64_t i; (i = atomic_fetch_add(&q->next, 1)) < q->items;)
        q->item(q->work, i, scratch);
#if defined(__x86_64__)
    _mm_setcsr(saved);
#endif
    free(scratch);
}

static void *drain_thread(void *data) {
    drain(data);
    return NULL;
}

static int run(queue *q, parallel_fn parallel, int threads) {
    if (threads > q->items) threads = (int)q->items;
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if (threads <= 1) {
        drain(q);
    } else if (parallel) {
        parallel(drain, q, (unsigned)threads, 0);
    } else {
        pthread_t extra[MAX_THREADS];
        int started = 0;
        while (started < threads - 1 && !pthread_create(&extra[started], NULL, drain_thread, q))
            started++;
        drain(q);
        while (started) pthread_join(extra[--started], NULL);
    }
    return atomic_load(&q->next) < q->items ? OUT_OF_MEMORY : OK;
}

/* Gradients sum a coefficient over classes and over memories or images; these sums stay finite. */
#define ROOM 0x1p-40

static inline double within_range(double x) { return fmin(fmax(x, -DBL_MAX), DBL_MAX); }

/* ---- powers ------------------------------------------------------------- */

typedef struct {
    double value;
    int whole;        /* multiplied out as (x^inner)^outer; all others go through pow() */
    int inner, outer; /* 0, 1 for x^0 */
} exponent;

/* Products that repeated squaring takes for x^n. */
static int squaring_cost(int n) {
    return 31 - __builtin_clz((unsigned)n) + __builtin_popcount((unsigned)n) - 1;
}

/* The split with the fewest products: x^30 is (x^3)^10, six instead of seven. */
static exponent exponent_of(double value) {
    exponent e = {.value = value, .outer = 1};
    e.whole = value >= 0 && value < (1 << 20) && value == floor(value);
    if (!e.whole || value == 0) return e;
    const int n = (int)value;
    e.inner = n;
    for (int d = 2; d * d <= n; d++) {
        const int cost = squaring_cost(d) + squaring_cost(n / d);
        if (n % d == 0 && cost < squaring_cost(e.inner) + squaring_cost(e.outer))
            e.inner = d, e.outer = n / d;
    }
    return e;
}

static double scalar_squarings(double x, int n) {
    double out = x;
    for (int bit = (1 << (31 - __builtin_clz((unsigned)n))) >> 1; bit; bit >>= 1) {
        out *= out;
        if (n & bit) out *= x;
    }
    return out;
}

/* x^power for x >= 0. */
static double scalar_power(double x, exponent power) {
    if (!power.whole) return pow(x, power.value);
    if (power.inner == 0) return 1;
    return scalar_squarings(scalar_squarings(x, power.inner), power.outer);
}

/* ---- the same loops in two precisions ----------------------------------- */

#define REAL float
#define BITS uint32_t
#define POW powf
#define FABS fabsf
#define LARGEST FLT_MAX
#define TOO_SMALL 1e-25f /* a sum below this has lost terms to underflow */
#define NAME(x) x##_f32
#include "cpu_kernels.h"
#undef REAL
#undef BITS
#undef POW
#undef FABS
#undef LARGEST
#undef TOO_SMALL
#undef NAME

#define REAL double
#define BITS uint64_t
#define POW pow
#define FABS fabs
#define LARGEST DBL_MAX
#define TOO_SMALL 1e-280
#define NAME(x) x##_f64
#include "cpu_kernels.h"
