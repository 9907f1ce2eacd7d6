/* The loops over memories and classes that dominate a dense associative
 * memory once its two matrix products are done by a library.
 *
 * Layout. Overlaps are memory-major, (K, B): the vector lanes run over images,
 * a memory's class weights are scalars to them, and the matrix products need
 * no transpose. What belongs to a class and an image comes in tiles,
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

/* Subnormal powers are zero for every purpose here, and up to a hundred times slower. */
static void drain(void *data) {
    queue *q = data;
    void *scratch = aligned_alloc(64, (q->scratch + 64) / 64 * 64);
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

/* ---- the same loops in two precisions ----------------------------------- */

#define REAL float
#define BITS uint32_t
#define POW powf
#define FABS fabsf
#define TOO_SMALL 1e-25f /* a sum below this has lost terms to underflow */
#define NAME(x) x##_f32
#include "cpu_kernels.h"
#undef REAL
#undef BITS
#undef POW
#undef FABS
#undef TOO_SMALL
#undef NAME

#define REAL double
#define BITS uint64_t
#define POW pow
#define FABS fabs
#define TOO_SMALL 1e-280
#define NAME(x) x##_f64
#include "cpu_kernels.h"
