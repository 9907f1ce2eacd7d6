/* F_n(x) = x^n for x >= 0, else 0; the parameter is n. See ../cpu_loops.h. */
#ifndef REAL

#define FUNCTION rectified_polynomial
#define BODY "functions/rectified_polynomial.c"

#include "../cpu_polynomials.h"

static int variant_of(term power) { return power.whole; }

static double pull_of(const double *n, double x, double y) {
    return x > 0 ? *n / y * pow(x / y, *n - 1) : 0;
}

#include "../cpu_loops.h"

#else

#include "../cpu_powers_real.h"

#define FLOOR 0

INLINE REAL NAME(size)(REAL x) { return x; }
INLINE vec NAME(sizes)(vec x) { return x; }
INLINE int NAME(active)(REAL scale) { return scale > 0; }

/* 0.5 / scale, and 0 where scale is 0. */
INLINE REAL NAME(prepared)(REAL scale) { return scale > 0 ? (REAL)0.5 / scale : 0; }

/* Twice the positive part, exact and without a comparison. */
INLINE vec NAME(twice_relu)(vec x) { return x + (vec)((bits)x & (((BITS)-1) >> 1)); }

INLINE void NAME(relative)(vec *out, const vec *field, const vec *half_inverse, int whole,
                           term power) {
    vec x[VECTORS];
    for (int v = 0; v < VECTORS; v++) x[v] = NAME(twice_relu)(field[v] * half_inverse[v]);
    NAME(power)(out, x, whole, power);
}

#endif
