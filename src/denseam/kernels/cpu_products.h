/* The products of cpu_dots.c that other loops call, on one thread. */
#pragma once

#include <stdint.h>

enum { GROUP = 8 }; /* states of `add_rows` */

#define PRODUCTS(REAL, NAME)                                                                      \
    int NAME(denseam_dots)(const REAL *a, int64_t a_stride, const REAL *b, int64_t b_stride,       \
                           int64_t m, int64_t n, int64_t length, REAL *out, void *parallel,        \
                           int threads);                                                           \
    void NAME(denseam_add_rows)(REAL *out, int64_t out_stride, const REAL *weights,                \
                                int64_t weights_stride, const REAL *rows, int64_t stride,          \
                                const int32_t *list, int64_t count, int64_t length);

#define SINGLE_NAME(x) x##_f32
#define DOUBLE_NAME(x) x##_f64
PRODUCTS(float, SINGLE_NAME)
PRODUCTS(double, DOUBLE_NAME)
