/* Shared by the C files: compiler attributes, and threads.
 *
 * The caller passes GOMP_parallel of PyTorch's OpenMP runtime, so that both use one pool instead of
 * two that compete; without it, plain threads are started. Work is
 * cut into items that write disjoint outputs in a fixed order: results do not depend on the number
 * of threads.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define EXPORT __attribute__((visibility("default")))

/* One binary for every x86-64: the loader picks the widest vectors it can use. */
#if defined(__x86_64__) && defined(__gnu_linux__)
#define WIDEST __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDEST
#endif

enum { MAX_THREADS = 256 };
enum { OK = 0, OUT_OF_MEMORY = 1 };

typedef void (*parallel_fn)(void (*body)(void *), void *data, unsigned threads, unsigned flags);

typedef struct {
    void (*item)(const void *work, int64_t index, void *scratch);
    const void *work;
    int64_t items;
    size_t scratch; /* bytes, for each thread */
    atomic_llong next;
} queue;

/* Working space for whole vectors, to be freed by free(); NULL where there is no memory. */
static inline void *room(size_t bytes) { return aligned_alloc(64, (bytes + 64) / 64 * 64); }

/* Subnormal powers are zero for every purpose here, and up to a hundred times slower. */
static inline void drain(void *data) {
    queue *q = data;
    void *scratch = room(q->scratch);
    if (!scratch) return; /* another thread takes the items; run() notices if none did */
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

static inline void *drain_thread(void *data) {
    drain(data);
    return NULL;
}

static inline int run(queue *q, parallel_fn parallel, int threads) {
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
