/* What rectified and plain polynomials share: F_n and n F_(n-1) are powers. n is the parameter, and
 * x, y >= 0 are sizes. */
#pragma once

#include "cpu_powers.h"

typedef exponent term;

enum { SLOPE_IS_VALUE = 0 };

static term value_term(const double *n) { return exponent_of(*n); }
static term slope_term(const double *n) { return exponent_of(*n - 1); }
static double ratio(const double *n, double x, double y) { return y > 0 ? pow(x / y, *n) : 0; }
static double log_value(const double *n, double x) { return *n * log(x); }
