/* The loops over memories and classes that dominate a dense associative
 * memory beside its two matrix products.
 *
 * Layout. Overlaps are memory-major, (K, B): the vector lanes run over images,
 * a memory's class weights are scalars to them, and the matrix products need
 * no transpose. What belongs to a class and an image is worked on in tiles,
 * (tiles, C + 1, WIDTH), zero-padded. Nothing of size B*K*C is stored: powers
 * are recomputed in the backward pass, which is cheaper than moving them.
 *
 * Results do not depend on the number of threads: see cpu_threads.h.
 *
 * Nothing here knows Python; kernels/native.py calls it through ctypes.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "cpu_threads.h"

/* One binary for every x86-64: the loader picks the widest vectors it can use. */
#if defined(__x86_64__) && defined(__gnu_linux__)
#define WIDEST __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDEST
#endif

enum { VECTORS = 4 };    /* independent chains hide the latency of a product */
enum { CHUNK = 64 };     /* memories per tile of the forward pass: a tile fits the first cache */
enum { AHEAD = 12 };     /* memories between asking for overlaps and using them */
enum { ROWS = 8 };       /* memories per item of the backward pass and of the update */

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
