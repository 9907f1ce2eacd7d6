/* F_n(x) = x^n, also for x < 0; the parameter n is a whole number. For retrieval alone: memories have
 * no classes. See ../cpu_loops.h. */
#ifndef REAL

#define FUNCTION polynomial
#define BODY "functions/polynomial.c"

#include "../cpu_polynomials.h"

static int variant_of(term power) { return (void)power, 1; }

/* Of sizes, x and y >= 0. */
static double pull_of(const double *n, double x, double y) {
    return y > 0 ? *n / y * pow(x / y, *n - 1) : 0;
}

#include "../cpu_loops.h"

#else

#include "../cpu_powers_real.h"

#define FLOOR 0

INLINE REAL NAME(size)(REAL x) { return x < 0 ? -x : x; }
INLINE vec NAME(sizes)(vec x) { return (vec)((bits)x & (((BITS)-1) >> 1)); }
INLINE int NAME(active)(REAL scale) { return scale > 0; }
INLINE REAL NAME(prepared)(REAL scale) { return scale > 0 ? 1 / scale : 0; }

INLINE void NAME(relative)(vec *out, const vec *field, const vec *inverse, int whole, term power) {
    vec x[VECTORS];
    (void)whole;
    for (int v = 0; v < VECTORS; v++) x[v] = field[v] * inverse[v];
    if (power.inner == 0) /* x^0 = 1, at 0 as well */
        for (int v = 0; v < VECTORS; v++) out[v] = (vec){0} + 1;
    else
        NAME(power)(out, x, 1, power);
}

#endif
