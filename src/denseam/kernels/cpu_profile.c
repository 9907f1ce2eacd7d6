/* The guard's default score, "profile" in guard/scores.py: how far what is to be said of an image
 * lies from what is said of clean images of its class.
 *
 * One image after the other: a few microseconds where as many operations on small tensors take a
 * quarter of a millisecond, and nothing is rounded by its place in a batch. That file has the same
 * with gradients, for other scores and on other devices.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>

#include "cpu_threads.h"

enum { FEATURES = 5 };
static const double LEAST_GAP = -40, LEAST_ENERGY = -1e6;

typedef struct {
    int64_t height, width, C;
    const double *visible;                /* (B, height * width) */
    const double *log_energy, *gap;       /* (B, C) */
    const double *means, *whiteners;      /* (C, FEATURES), (C, FEATURES, FEATURES) */
    double *scores;                       /* (B,) */
    int64_t *labels;                      /* (B,) */
} profile;

enum { LANES = 8 };  /* of a sum, so that additions need not wait for each other */

static double joined(const double *lanes) {
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
           ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

/* Sum of (a - b)^2, or of a^2 where b is NULL. */
static double squares(const double *a, const double *b, int64_t count) {
    double lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++) {
            const double x = b ? a[i + l] - b[i + l] : a[i + l];
            lanes[l] += x * x;
        }
    for (int l = 0; i < count; i++, l++) {
        const double x = b ? a[i] - b[i] : a[i];
        lanes[l] += x * x;
    }
    return joined(lanes);
}

static double sum(const double *a, int64_t count) {
    double lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++) lanes[l] += a[i + l];
    for (int l = 0; i < count; i++, l++) lanes[l] += a[i];
    return joined(lanes);
}

/* Mean, mean square, and mean squared step to a neighbour. */
static void pixels(const double *image, int64_t height, int64_t width, double *found) {
    const int64_t count = height * width;
    const int64_t steps = (height - 1) * width + height * (width - 1);
    double rough = squares(image + width, image, count - width);
    for (int64_t y = 0; y < height; y++)
        rough += squares(image + y * width + 1, image + y * width, width - 1);
    found[0] = sum(image, count) / (double)count;
    found[1] = squares(image, NULL, count) / (double)count;
    found[2] = rough / (double)(steps > 0 ? steps : 1);
}

static double log_sigmoid(double x) { return fmin(x, 0) - log1p(exp(-fabs(x))); }

static double log_add_exp(double a, double b) {
    const double most = fmax(a, b);
    return isinf(most) ? most : most + log1p(exp(-fabs(a - b)));
}

/* log(2 - (Y_1 - Y_2)), less log 2. */
static double gap_score(const double *gap, int64_t C) {
    double best = -INFINITY, second = -INFINITY;
    for (int64_t c = 0; c < C; c++) {
        second = fmax(second, fmin(best, gap[c]));
        best = fmax(best, gap[c]);
    }
    return log_add_exp(log_sigmoid(-2 * best), log_sigmoid(2 * second));
}

static void judge(const void *work, int64_t b, void *scratch) {
    const profile *p = work;
    const double *log_energy = p->log_energy + b * p->C, *gap = p->gap + b * p->C;
    int64_t label = 0;
    int known = 1; /* comparisons pass over NaN, which would let an image through */
    for (int64_t c = 0; c < p->C; c++) {
        if (log_energy[c] > log_energy[label]) label = c;
        if (isnan(log_energy[c]) || isnan(gap[c])) known = 0;
    }
    (void)scratch;

    double features[FEATURES];
    pixels(p->visible + b * p->height * p->width, p->height, p->width, features);
    features[3] = fmax(log_energy[label], LEAST_ENERGY);
    features[4] = fmax(gap_score(gap, p->C), LEAST_GAP);

    const double *means = p->means + label * FEATURES;
    const double *whitener = p->whiteners + label * FEATURES * FEATURES;
    double squared = DBL_MIN;
    for (int i = 0; i < FEATURES; i++) {
        double white = 0;
        for (int j = 0; j < FEATURES; j++)
            white += whitener[i * FEATURES + j] * (features[j] - means[j]);
        squared += white * white;
    }
    p->labels[b] = label;
    p->scores[b] = known && log_energy[label] > -INFINITY ? sqrt(squared) : INFINITY;
}

EXPORT int denseam_profile_f64(const double *visible, int64_t B, int64_t height, int64_t width,
                               const double *log_energy, const double *gap, int64_t C,
                               const double *means, const double *whiteners, double *scores,
                               int64_t *labels, void *parallel, int threads) {
    const profile p = {.height = height, .width = width, .C = C, .visible = visible,
                       .log_energy = log_energy, .gap = gap, .means = means,
                       .whiteners = whiteners, .scores = scores, .labels = labels};
    queue q = {.item = judge, .work = &p, .items = B};
    return run(&q, (parallel_fn)parallel, threads);
}
