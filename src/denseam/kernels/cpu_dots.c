/* A batch-invariant matrix product, out[i, j] = a[i] . b[j], and at the end of cpu_dots.h the one
 * that goes back, sums of weighted rows.
 *
 * Libraries choose the order of additions by the shape of a product, so that the overlaps of an
 * image depend on its batch. Here each is LANES chains of fused additions, lane l over
 * the components l, l + LANES, l + 2 LANES, ..., and then the lanes are added in pairs: a function
 * of its two rows alone, for any batch and number of threads. Chains are short, so it also rounds
 * less than one long sum.
 *
 * Layout. Rows lie dense in both operands, so nothing is packed or transposed: a tile of TALL rows
 * of a by up to WIDE rows of b keeps its chains in registers and reads every vector once. An item
 * is a block of rows of a that stays in the second cache while all of b passes by.
 *
 * The processor decides which tile its registers can hold. The order is the same for all tiles, and
 * so are the bits wherever additions are fused.
 */
#include <stdint.h>
#include <string.h>

#include "cpu_products.h"
#include "cpu_threads.h"

/* Round a * b + c once wherever there is an instruction for it. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=fast")
#else
#pragma STDC FP_CONTRACT ON
#endif

enum { TALL = 5, WIDE = 5 };  /* of the largest tile */
enum { BLOCK = 40 * 800 };    /* numbers of a that an item covers, about */
enum { ITEMS = 4 };           /* for each thread, at least, where there are rows enough */

#if defined(__x86_64__) && defined(__gnu_linux__)
#define BY_TARGET 1
#define AVX512 __attribute__((target("avx512f,avx512vl,fma")))
#define AVX2 __attribute__((target("avx2,fma")))
static inline int has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("fma");
}
static inline int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#else
#define BY_TARGET 0
#endif

/* Bits of the vectors in use; the tiles were measured with 512. */
EXPORT int denseam_dots_vector_bits(void) {
#if BY_TARGET
    if (has_avx512()) return 512;
    if (has_avx2()) return 256;
#endif
    return 128;
}

#define REAL float
#define BITS uint32_t
#define SUM(x) ((x[0] + x[2]) + (x[1] + x[3]))
#define NAME(x) x##_f32
#include "cpu_dots.h"
#undef REAL
#undef BITS
#undef SUM
#undef NAME

#define REAL double
#define BITS uint64_t
#define SUM(x) (x[0] + x[1])
#define NAME(x) x##_f64
#include "cpu_dots.h"
