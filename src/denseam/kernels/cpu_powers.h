/* Whole powers by few products, all others by pow(). */
#pragma once

#include <math.h>

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
