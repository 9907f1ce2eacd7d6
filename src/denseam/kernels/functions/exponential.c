/* F(x) = exp(beta (x - at)); the parameters are beta and at. See ../cpu_loops.h. */
#ifndef REAL

#define FUNCTION exponential
#define BODY "functions/exponential.c"

#include <math.h>

typedef double term; /* beta in base 2: F(x) / F(y), as F'(x) / F'(y), is 2^(beta_2 (x - y)) */

static term value_term(const double *beta) { return *beta * 1.4426950408889634; }
static term slope_term(const double *beta) { return value_term(beta); }
static int variant_of(term beta_2) { return (void)beta_2, 1; }

/* Chebyshev fits of 2^r on |r| <= 1/2, highest power first: off by 2e-9 and by 4e-20. */
static const double fit_single[] = {0.000154614446985691291, 0.00134004281776158379,
                                    0.00961805667852463808,  0.0555032722667030206,
                                    0.240226509222887581,    0.693147206702832596,
                                    1.0};
static const double fit_double[] = {2.57335683087568912e-11, 4.45667534104920588e-10,
                                    7.05489438634834804e-9,  1.0178051192960649e-7,
                                    1.3215486815999977e-6,   0.0000152527338562934664,
                                    0.000154035303933627553, 0.00133335581463903528,
                                    0.00961812910762848305,  0.055504108664821699,
                                    0.240226506959100712,    0.693147180559945308,
                                    1.0};

enum { SLOPE_IS_VALUE = 1 };

static double ratio(const double *beta, double x, double y) { return exp(*beta * (x - y)); }
static double pull_of(const double *beta, double x, double y) { return *beta * ratio(beta, x, y); }
static double log_value(const double *beta, double x) { return *beta * (x - beta[1]); }

#include "../cpu_loops.h"

#else

#define FLOOR (-(REAL)INFINITY)

INLINE REAL NAME(size)(REAL x) { return x; }
INLINE vec NAME(sizes)(vec x) { return x; }
INLINE int NAME(active)(REAL scale) { return (void)scale, 1; }
INLINE REAL NAME(prepared)(REAL scale) { return scale; }

/* 2^x for x <= 0, and 0 below the range. x = k + r; the whole number k is read from the low bits of
 * x + 1.5 2^p, and becomes an exponent. */
INLINE void NAME(exp2)(vec *out, const vec *x) {
    enum { SINGLE = sizeof(REAL) == 4, DIGITS = SINGLE ? 23 : 52, BIAS = SINGLE ? 127 : 1023 };
    const REAL magic = (REAL)1.5 * (REAL)((BITS)1 << DIGITS), least = 1 - BIAS;
    const double *fit = SINGLE ? fit_single : fit_double;
    vec k[VECTORS], r[VECTORS], p[VECTORS];
    for (int v = 0; v < VECTORS; v++) {
        k[v] = x[v] + magic;
        r[v] = x[v] - (k[v] - magic);
        p[v] = (vec){0} + (REAL)fit[0];
    }
    for (int i = 1; i <= (SINGLE ? 6 : 12); i++)
        for (int v = 0; v < VECTORS; v++) p[v] = p[v] * r[v] + (REAL)fit[i];
    for (int v = 0; v < VECTORS; v++) {
        const vec power = (vec)(((bits)k[v] << DIGITS) + ((BITS)BIAS << DIGITS));
        out[v] = (vec)((bits)(p[v] * power) & ~(bits)(x[v] < least));
    }
}

INLINE void NAME(relative)(vec *out, const vec *field, const vec *scale, int variant,
                           term beta_2) {
    vec x[VECTORS];
    (void)variant;
    for (int v = 0; v < VECTORS; v++) {
        const vec above = (REAL)beta_2 * (field[v] - scale[v]);
        x[v] = (vec)((bits)above & ~(bits)(above > 0)); /* lanes of padding stay finite */
    }
    NAME(exp2)(out, x);
}

#endif
