/* The loops over memories and classes that dominate a dense associative memory beside its two
 * matrix products, for one energy function F. Included by functions/<F>.c, which names it (FUNCTION,
 * BODY) and defines its scalar part:
 *
 *   term           the constants of F, or of its slope F', for the loops
 *   value_term(parameters), slope_term(parameters), variant_of(term)
 *   SLOPE_IS_VALUE               1 where F'(x) / F'(y) = F(x) / F(y)
 *   ratio(parameters, x, y)      F(x) / F(y); 0 where both are 0
 *   pull_of(parameters, x, y)     F'(x) / F(y)
 *   log_value(parameters, x)     log F(x)
 *
 * and, included again for each precision, its vector part: see cpu_loops_real.h.
 *
 * Layout. Overlaps are memory-major, (K, B): the vector lanes run over images, a memory's class
 * weights are scalars to them, and the matrix products need no transpose. Scales and coefficients of
 * classes and images lie in tiles, (tiles, C + 1, WIDTH), zero-padded. Nothing of size B*K*C is
 * stored: F is evaluated again in the backward pass, which is cheaper than moving it.
 *
 * Results do not depend on the number of threads: see cpu_threads.h.
 *
 * kernels/native.py calls it through ctypes.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "cpu_powers.h"
#include "cpu_products.h"
#include "cpu_threads.h"

enum { VECTORS = 4 };    /* independent chains hide the latency of a product */
enum { CHUNK = 64 };     /* memories per tile of the forward pass: a tile fits the first cache */
enum { AHEAD = 12 };     /* memories between asking for overlaps and using them */
enum { ROWS = 8 };       /* memories per item of the backward pass */

enum { MEMORIES = 64 };  /* whose fields with a tile of states are gathered at once */
enum { SPAN = 4096, MOST_SPANS = 16 }; /* memories that an item gathers, at least; items of a tile */

/* Gradients sum a coefficient over classes and over memories or images; these sums stay finite. */
#define ROOM 0x1p-40

static inline double within_range(double x) { return fmin(fmax(x, -DBL_MAX), DBL_MAX); }

#define JOIN_(a, b, c) a##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define OPERATION(x) JOIN(denseam_, FUNCTION, NAME(x)) /* denseam_<F>_<x>_<precision> */

/* ---- the same loops in two precisions ----------------------------------- */

#define REAL float
#define BITS uint32_t
#define POW powf
#define LARGEST FLT_MAX
#define TOO_SMALL 1e-25f /* a sum below this has lost terms to underflow */
#define NAME(x) x##_f32
#include "cpu_loops_real.h"
#undef REAL
#undef BITS
#undef POW
#undef LARGEST
#undef TOO_SMALL
#undef NAME

#define REAL double
#define BITS uint64_t
#define POW pow
#define LARGEST DBL_MAX
#define TOO_SMALL 1e-280
#define NAME(x) x##_f64
#include "cpu_loops_real.h"
