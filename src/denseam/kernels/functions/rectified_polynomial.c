/* F_n(x) = x^n for x >= 0, else 0; the parameter is n. See ../cpu_loops.h. */
#ifndef REAL

#define FUNCTION rectified_polynomial
#define BODY "functions/rectified_polynomial.c"

#include "../cpu_powers.h"

typedef exponent term;

static term value_term(const double *n) { return exponent_of(*n); }
static term slope_term(const double *n) { return exponent_of(*n - 1); }
static int variant_of(term power) { return power.whole; }

static double ratio(const double *n, double x, double y) { return y > 0 ? pow(x / y, *n) : 0; }
static double pull_of(const double *n, double x, double y) {
    return x > 0 ? *n / y * pow(x / y, *n - 1) : 0;
}
static double log_value(const double *n, double x) { return *n * log(x); }

#include "../cpu_loops.h"

#else

#define FLOOR 0

INLINE int NAME(active)(REAL scale) { return scale > 0; }

/* 0.5 / scale, and 0 where scale is 0. */
INLINE REAL NAME(prepared)(REAL scale) { return scale > 0 ? (REAL)0.5 / scale : 0; }

/* Twice the positive part, exact and without a comparison. */
INLINE vec NAME(twice_relu)(vec x) { return x + (vec)((bits)x & (((BITS)-1) >> 1)); }

/* out = x^n for n >= 1 by repeated squaring from the top bit down, so that nothing on the way
 * exceeds the larger of x and the result. */
INLINE void NAME(squarings)(vec *out, const vec *x, int n) {
    for (int v = 0; v < VECTORS; v++) out[v] = x[v];
    for (int bit = (1 << (31 - __builtin_clz((unsigned)n))) >> 1; bit; bit >>= 1) {
        for (int v = 0; v < VECTORS; v++) out[v] *= out[v];
        if (n & bit)
            for (int v = 0; v < VECTORS; v++) out[v] *= x[v];
    }
}

/* out = x^power for x >= 0. x^0 is 1 only where x > 0: F_1 has no slope at zero. `whole` is a
 * constant wherever this is inlined. */
INLINE void NAME(power)(vec *out, const vec *x, int whole, exponent power) {
    if (!whole) {
        for (int v = 0; v < VECTORS; v++)
            for (int l = 0; l < LANES; l++)
                out[v][l] = x[v][l] > 0 ? POW(x[v][l], (REAL)power.value) : 0;
    } else if (power.inner == 0) {
        for (int v = 0; v < VECTORS; v++)
            out[v] = (vec)((bits)(x[v] > 0) & (bits)((vec){0} + 1));
    } else {
        NAME(squarings)(out, x, power.inner);
        if (power.outer > 1) {
            vec inner[VECTORS];
            for (int v = 0; v < VECTORS; v++) inner[v] = out[v];
            NAME(squarings)(out, inner, power.outer);
        }
    }
}

INLINE void NAME(relative)(vec *out, const vec *field, const vec *half_inverse, int whole,
                           term power) {
    vec x[VECTORS];
    for (int v = 0; v < VECTORS; v++) x[v] = NAME(twice_relu)(field[v] * half_inverse[v]);
    NAME(power)(out, x, whole, power);
}

#endif
