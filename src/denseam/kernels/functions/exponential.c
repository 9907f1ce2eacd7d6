/* F(x) = exp(beta (x - at)); the parameters are beta and at. See ../cpu_loops.h. */
#ifndef REAL

#define FUNCTION exponential
#define BODY "functions/exponential.c"

#include <math.h>

typedef double term; /* beta: F' / F' is F / F */

static term value_term(const double *beta) { return *beta; }
static term slope_term(const double *beta) { return *beta; }
static int variant_of(term beta) { return (void)beta, 1; }

static double ratio(const double *beta, double x, double y) { return exp(*beta * (x - y)); }
static double pull_of(const double *beta, double x, double y) { return *beta * ratio(beta, x, y); }
static double log_value(const double *beta, double x) { return *beta * (x - beta[1]); }

#include "../cpu_loops.h"

#else

#define FLOOR (-(REAL)INFINITY)

INLINE int NAME(active)(REAL scale) { return (void)scale, 1; }
INLINE REAL NAME(prepared)(REAL scale) { return scale; }

/* exp(x) for x <= 0, and 0 below the range. x = k log 2 + r with |r| <= log 2 / 2; k is read from
 * the low bits of x / log 2 + 1.5 2^p, and becomes an exponent; e^r is a Taylor polynomial whose
 * rest is below half a unit in the last place. */
INLINE void NAME(exp)(vec *out, const vec *x) {
    enum { SINGLE = sizeof(REAL) == 4, DIGITS = SINGLE ? 23 : 52, BIAS = SINGLE ? 127 : 1023 };
    const REAL magic = (REAL)1.5 * (REAL)((BITS)1 << DIGITS), least = SINGLE ? -87 : -708;
    const REAL high = SINGLE ? 0x1.62ep-1 : 0x1.62e42fefap-1; /* of log 2: k * high is exact */
    const REAL low = (REAL)(SINGLE ? 0x1.0bfbe8e7bcd5ep-15 : 0x1.cf79abc9e3b39p-40);
    vec k[VECTORS], r[VECTORS], p[VECTORS];
    for (int v = 0; v < VECTORS; v++) {
        k[v] = x[v] * (REAL)1.4426950408889634 + magic;
        const vec whole = k[v] - magic;
        r[v] = (x[v] - whole * high) - whole * low;
        p[v] = (vec){0} + (REAL)(1 / (SINGLE ? 5040.0 : 6227020800.0));
    }
    REAL factorial = SINGLE ? 5040 : 6227020800;
    for (int i = SINGLE ? 7 : 13; i > 0; i--) {
        factorial /= (REAL)i;
        for (int v = 0; v < VECTORS; v++) p[v] = p[v] * r[v] + 1 / factorial;
    }
    for (int v = 0; v < VECTORS; v++) {
        const vec power = (vec)(((bits)k[v] << DIGITS) + ((BITS)BIAS << DIGITS));
        out[v] = (vec)((bits)(p[v] * power) & ~(bits)(x[v] < least));
    }
}

INLINE void NAME(relative)(vec *out, const vec *field, const vec *scale, int variant, term beta) {
    vec x[VECTORS];
    (void)variant;
    for (int v = 0; v < VECTORS; v++) {
        const vec above = (REAL)beta * (field[v] - scale[v]);
        x[v] = (vec)((bits)above & ~(bits)(above > 0)); /* lanes of padding stay finite */
    }
    NAME(exp)(out, x);
}

#endif
