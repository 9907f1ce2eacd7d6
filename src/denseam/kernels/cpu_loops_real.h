/* Included twice by cpu_loops.h, with REAL = float and REAL = double. BODY defines for it
 *
 *   FLOOR                             the least scale; -INFINITY where there is none
 *   NAME(size)(x), NAME(sizes)(vec)   x in the order of F, see energies/base.py
 *   NAME(active)(scale)               whether any memory has an energy at this scale
 *   NAME(prepared)(scale)             the form in which `relative` takes a scale; 0 pads
 *   NAME(relative)(out, field, prepared, variant, term)
 *                                     F(field) / F(scale), or the same of F', for VECTORS vectors
 *
 *   shift[k, c] = 2 class[k, c] - sum_c' class[k, c']   for c < C,
 *   shift[k, C] =               - sum_c' class[k, c'],
 *   on[c, k, b] = overlap[k, b] + shift[k, c];   off is on for c = C   (paper, Eq. 2.1)
 */
#define LANES ((int64_t)(64 / sizeof(REAL))) /* of one 512-bit vector */
#define WIDTH (VECTORS * LANES)              /* images per tile */
#define vec NAME(vec)
#define loose_vec NAME(loose_vec)
#define bits NAME(bits)
#define task NAME(task)

typedef REAL vec __attribute__((vector_size(64)));
typedef REAL loose_vec __attribute__((vector_size(64), aligned(sizeof(REAL)), may_alias));
typedef BITS bits __attribute__((vector_size(64)));

typedef struct {
    int64_t K, B, C;
    const REAL *overlaps;     /* (K, B) */
    const REAL *classes;      /* (K, C), rows `stride` apart */
    int64_t stride;
    term term;                /* F, or F' */
    /* of the sums: */
    int every_class;          /* rescale classes whose sums underflow on the image's scale */
    const REAL *shifts;       /* (K, C + 1), and a vector more */
    const REAL *largest_shifts; /* (K) */
    REAL *scale;              /* (C + 1, B), or (1, B) without every_class */
    REAL *sums;               /* (C + 1, B) */
    /* of the weights: */
    const vec *prepared;      /* (tiles, C + 1, VECTORS): scales */
    const vec *coefficients;  /* (tiles, C + 1, VECTORS) */
    REAL *weights;            /* (K, B); may be the overlaps themselves */
    REAL *class_gradient;     /* (K, C); NULL where it is not wanted */
} task;

INLINE int64_t NAME(tiles)(int64_t B) { return (B + WIDTH - 1) / WIDTH; }

#include BODY

INLINE int64_t NAME(width)(const task *t, int64_t tile) {
    const int64_t left = t->B - tile * WIDTH;
    return left < WIDTH ? left : WIDTH;
}

/* The shifts of up to ROWS memories, (count, C + 1), side by side: one sum alone is slow. */
INLINE void NAME(shift)(REAL *out, const task *t, int64_t k, int64_t count) {
    const REAL *classes[ROWS];
    REAL total[ROWS] = {0};
    for (int64_t i = 0; i < ROWS; i++) classes[i] = t->classes + (i < count ? k + i : k) * t->stride;
    for (int64_t c = 0; c < t->C; c++)
        for (int64_t i = 0; i < ROWS; i++) total[i] += classes[i][c];
    for (int64_t i = 0; i < count; i++, out += t->C + 1) {
        for (int64_t c = 0; c < t->C; c++) out[c] = 2 * classes[i][c] - total[i];
        out[t->C] = -total[i];
    }
}

/* One memory's overlaps with a tile of images, zero-padded. */
INLINE void NAME(load)(vec *out, const task *t, int64_t k, int64_t tile, int64_t width) {
    const REAL *row = t->overlaps + k * t->B + tile * WIDTH;
    if (width == WIDTH) {
        for (int v = 0; v < VECTORS; v++) out[v] = *(const loose_vec *)(row + v * LANES);
    } else if (width == LANES) {
        out[0] = *(const loose_vec *)row;
        for (int v = 1; v < VECTORS; v++) out[v] = (vec){0};
    } else {
        memset(out, 0, sizeof(vec) * VECTORS);
        memcpy(out, row, (size_t)width * sizeof(REAL));
    }
}

/* Prefetch a memory's overlaps with a tile: rows lie a page apart, too far for the hardware. */
INLINE void NAME(prefetch)(const task *t, int64_t k, int64_t tile) {
    if (k >= t->K) return;
    const char *row = (const char *)(t->overlaps + k * t->B + tile * WIDTH);
    for (int line = 0; line < VECTORS; line++) __builtin_prefetch(row + 64 * line);
}

INLINE vec NAME(larger)(vec a, vec b) {
    const bits first = (bits)(a > b);
    return (vec)(((bits)a & first) | ((bits)b & ~first));
}

/* The largest `on` of every image over all memories, FLOOR if none is above it: their shifts for
 * one class, or their largest ones, lie `stride` apart. */
INLINE void NAME(largest)(REAL *best, const task *t, int64_t tile, const REAL *shifts,
                          int64_t stride) {
    vec most[VECTORS], overlap[VECTORS];
    const int64_t width = NAME(width)(t, tile);
    for (int64_t b = 0; b < WIDTH; b++) best[b] = FLOOR;
    if (width < LANES) {
        const REAL *row = t->overlaps + tile * WIDTH;
        for (int64_t k = 0; k < t->K; k++, row += t->B, shifts += stride)
            for (int64_t b = 0; b < width; b++) {
                const REAL size = NAME(size)(row[b] + *shifts);
                best[b] = size > best[b] ? size : best[b];
            }
        return;
    }
    memcpy(most, best, sizeof most);
    for (int64_t k = 0; k < t->K; k++, shifts += stride) {
        NAME(prefetch)(t, k + AHEAD, tile);
        NAME(load)(overlap, t, k, tile, width);
        for (int v = 0; v < VECTORS; v++) most[v] = NAME(larger)(NAME(sizes)(overlap[v] + *shifts), most[v]);
    }
    memcpy(best, most, sizeof most);
}

/* Add F(on) / F(scale) of one class over a chunk of memories. Chunks are summed apart, so that
 * rounding grows with CHUNK + K / CHUNK and not with K. */
INLINE void NAME(add_chunk)(REAL *sums, const vec (*overlaps)[VECTORS], const REAL *shifts,
                            int64_t stride, int64_t count, const vec *prepared, int variant,
                            term term) {
    vec part[VECTORS] = {{0}}, field[VECTORS], p[VECTORS];
    for (int64_t k = 0; k < count; k++) {
        for (int v = 0; v < VECTORS; v++) field[v] = overlaps[k][v] + shifts[k * stride];
        NAME(relative)(p, field, prepared, variant, term);
        for (int v = 0; v < VECTORS; v++) part[v] += p[v];
    }
    for (int v = 0; v < VECTORS; v++) *(loose_vec *)(sums + v * LANES) += part[v];
}

INLINE void NAME(prepare)(vec *out, const REAL *scale) {
    REAL each[WIDTH];
    for (int64_t b = 0; b < WIDTH; b++) each[b] = NAME(prepared)(scale[b]);
    memcpy(out, each, sizeof each);
}

/* The sums of the classes [from, to) over all memories for one image, WIDTH apart: with few images
 * the lanes run over classes. The order of additions is the same as above. */
INLINE void NAME(sum_classes_of_one)(REAL *sums, const task *t, int64_t b, int64_t from, int64_t to,
                                     REAL prepared, int variant) {
    vec same[VECTORS];
    for (int v = 0; v < VECTORS; v++) same[v] = (vec){0} + prepared;
    for (int64_t c = from; c < to; c += LANES) {
        vec sum = {0}, field[VECTORS], p[VECTORS];
        for (int64_t k0 = 0; k0 < t->K; k0 += CHUNK) {
            const int64_t end = k0 + CHUNK < t->K ? k0 + CHUNK : t->K;
            vec part = {0};
            for (int64_t k = k0; k < end; k += VECTORS) {
                for (int64_t v = 0; v < VECTORS; v++) {
                    const int64_t row = k + v < end ? k + v : k;
                    const vec shifts = *(const loose_vec *)(t->shifts + row * (t->C + 1) + c);
                    field[v] = t->overlaps[row * t->B + b] + shifts;
                }
                NAME(relative)(p, field, same, variant, t->term);
                for (int64_t v = 0; v < VECTORS && k + v < end; v++) part += p[v];
            }
            sum += part;
        }
        for (int64_t l = 0; l < LANES && c + l < to; l++) sums[(c - from + l) * WIDTH] = sum[l];
    }
}

/* The sums of the classes [from, to) over all memories, relative to `scale`: (to - from, WIDTH). */
INLINE void NAME(sum_classes)(REAL *sums, const task *t, int64_t tile, int64_t from, int64_t to,
                              const REAL *scale, int variant) {
    vec overlaps[CHUNK][VECTORS], prepared[VECTORS];
    const int64_t width = NAME(width)(t, tile), classes = to - from;
    const int64_t each = (CHUNK + classes - 1) / classes; /* rows to ask for with every class */
    NAME(prepare)(prepared, scale);
    memset(sums, 0, (size_t)(classes * WIDTH) * sizeof(REAL));
    if (width <= LANES) {
        for (int64_t b = 0; b < width; b++)
            NAME(sum_classes_of_one)(sums + b, t, tile * WIDTH + b, from, to,
                                     ((const REAL *)prepared)[b], variant);
        return;
    }
    for (int64_t k = 0; k < t->K; k += CHUNK) {
        const int64_t count = t->K - k < CHUNK ? t->K - k : CHUNK;
        const REAL *shifts = t->shifts + k * (t->C + 1) + from;
        for (int64_t i = 0; i < count; i++) NAME(load)(overlaps[i], t, k + i, tile, width);
        for (int64_t c = 0; c < classes; c++) {
            for (int64_t i = c * each; i < (c + 1) * each && i < CHUNK; i++)
                NAME(prefetch)(t, k + CHUNK + i, tile);
            NAME(add_chunk)(sums + c * WIDTH, overlaps, shifts + c, t->C + 1, count, prepared,
                            variant, t->term);
        }
    }
}

/* `sums` is room for (C + 1, WIDTH). */
INLINE void NAME(sums)(const task *t, int64_t tile, REAL *sums, int variant) {
    const int64_t rows = t->C + 1, width = NAME(width)(t, tile);
    const size_t bytes = (size_t)width * sizeof(REAL);
    REAL scale[WIDTH];
    NAME(largest)(scale, t, tile, t->largest_shifts, 1);
    NAME(sum_classes)(sums, t, tile, 0, rows, scale, variant);
    for (int64_t c = 0; c < (t->every_class ? rows : 1); c++)
        memcpy(t->scale + c * t->B + tile * WIDTH, scale, bytes);
    for (int64_t c = 0; c < rows; c++) {
        REAL *row = sums + c * WIDTH;
        int lost = 0;
        if (t->every_class && c < t->C)
            for (int64_t b = 0; b < width; b++) lost |= NAME(active)(scale[b]) && row[b] < TOO_SMALL;
        if (lost) { /* only these images get new sums, so that none depends on others in its tile */
            REAL class_scale[WIDTH], again[WIDTH];
            NAME(largest)(class_scale, t, tile, t->shifts + c, rows);
            NAME(sum_classes)(again, t, tile, c, c + 1, class_scale, variant);
            for (int64_t b = 0; b < width; b++)
                if (NAME(active)(scale[b]) && row[b] < TOO_SMALL) {
                    row[b] = again[b];
                    t->scale[c * t->B + tile * WIDTH + b] = class_scale[b];
                }
        }
        memcpy(t->sums + c * t->B + tile * WIDTH, row, bytes);
    }
}

/* weight[k, b] = sum_c coefficient[c, b] F'(on) / F'(scale), and the share of every class.
 * `share` is room for (ROWS, C + 1) sums, lanes apart, `shifts` for (ROWS, C + 1). */
INLINE void NAME(weights)(const task *t, int64_t index, vec *share, REAL *shifts,
                           int variant) {
    const int64_t rows = t->C + 1, tiles = NAME(tiles)(t->B);
    const int64_t k0 = index * ROWS, count = t->K - k0 < ROWS ? t->K - k0 : ROWS;
    memset(share, 0, sizeof(vec) * (size_t)(ROWS * rows));
    NAME(shift)(shifts, t, k0, count);
    for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t width = NAME(width)(t, tile);
        const vec *coefficients = t->coefficients + tile * rows * VECTORS;
        const vec *prepared = t->prepared + tile * rows * VECTORS;
        for (int64_t i = 0; i < count; i++) {
            vec overlap[VECTORS], weight[VECTORS] = {{0}}, field[VECTORS], p[VECTORS];
            NAME(load)(overlap, t, k0 + i, tile, width);
            for (int64_t c = 0; c < rows; c++) {
                const REAL shift = shifts[i * rows + c];
                for (int v = 0; v < VECTORS; v++) field[v] = overlap[v] + shift;
                NAME(relative)(p, field, prepared + c * VECTORS, variant, t->term);
                for (int v = 0; v < VECTORS; v++) {
                    p[v] *= coefficients[c * VECTORS + v];
                    weight[v] += p[v];
                }
                share[i * rows + c] += (p[0] + p[1]) + (p[2] + p[3]);
            }
            memcpy(t->weights + (k0 + i) * t->B + tile * WIDTH, weight,
                   (size_t)width * sizeof(REAL));
        }
    }
    if (!t->class_gradient) return;
    for (int64_t i = 0; i < count; i++) {
        REAL *gradient = t->class_gradient + (k0 + i) * t->C, total = 0;
        for (int64_t c = 0; c < rows; c++) {
            REAL sum = 0;
            for (int l = 0; l < LANES; l++) sum += share[i * rows + c][l];
            total += sum;
            if (c < t->C) gradient[c] = 2 * sum;
        }
        for (int64_t c = 0; c < t->C; c++) gradient[c] -= total;
    }
}

/* (rows, B), or one row for all of them, -> (tiles, rows, WIDTH), padded with zeros. */
static void NAME(to_tiles)(vec *out, const REAL *x, int64_t rows, int64_t B, int one_row) {
    for (int64_t tile = 0; tile < NAME(tiles)(B); tile++) {
        const int64_t left = B - tile * WIDTH, width = left < WIDTH ? left : WIDTH;
        for (int64_t c = 0; c < rows; c++, out += VECTORS) {
            memset(out, 0, sizeof(vec) * VECTORS);
            memcpy(out, x + (one_row ? 0 : c) * B + tile * WIDTH, (size_t)width * sizeof(REAL));
        }
    }
}

WIDEST static void NAME(sums_item)(const void *work, int64_t index, void *scratch) {
    const task *t = work;
    if (variant_of(t->term)) NAME(sums)(t, index, scratch, 1);
    else NAME(sums)(t, index, scratch, 0);
}

WIDEST static void NAME(weights_item)(const void *work, int64_t index, void *scratch) {
    const task *t = work;
    REAL *shifts = (REAL *)((vec *)scratch + ROWS * (t->C + 1));
    if (variant_of(t->term)) NAME(weights)(t, index, scratch, shifts, 1);
    else NAME(weights)(t, index, scratch, shifts, 0);
}

typedef struct {
    int64_t B, C;
    const REAL *sums, *scale;  /* (C + 1, B), (1, B) */
    const int64_t *labels;     /* (B) */
    const double *parameters;  /* of F */
    double temperature, loss_power;
    exponent slope_power;      /* 2m - 1 */
    double *activity;          /* (B, C) */
    double *objective;         /* (B) */
    int64_t *predicted;        /* (B) */
    REAL *coefficients;        /* (C + 1, B) */
} NAME(head);

/* From sums to coefficients for a tile of images, Eqs. 2.1 and 2.3, in double precision:
 * (Y - t)^(2m-1) with m = 30 soon leaves the range of single precision. */
static void NAME(head_item)(const void *work, int64_t index, void *scratch) {
    const NAME(head) *h = work;
    const int64_t B = h->B, C = h->C, end = (index + 1) * WIDTH < B ? (index + 1) * WIDTH : B;
    const double two_m = 2 * h->loss_power, T = h->temperature;
    double *pull = scratch; /* (C + 1) */
    for (int64_t b = index * WIDTH; b < end; b++) {
        const double scale = h->scale[b], off = h->sums[C * B + b];
        const double forward = within_range(ratio(h->parameters, scale, T));
        const double back = within_range(pull_of(h->parameters, scale, T));
        double best = -INFINITY, total = 0, objective = 0, largest = 0;
        h->predicted[b] = 0;
        for (int64_t c = 0; c < C; c++) {
            const double gap = (h->sums[c * B + b] - off) * forward, Y = tanh(gap);
            const double error = Y - (h->labels[b] == c ? 1 : -1);
            const double power = scalar_power(fabs(error), h->slope_power);
            if (gap > best) best = gap, h->predicted[b] = c;
            h->activity[b * C + c] = Y;
            objective += power * fabs(error);
            pull[c] = copysign(two_m * power, error) * (1 - Y * Y);
            total += pull[c];
        }
        h->objective[b] = objective;
        pull[C] = -total;
        for (int64_t c = 0; c <= C; c++) {
            pull[c] = within_range(pull[c] * back);
            largest = fmax(largest, fabs(pull[c]));
        }
        /* All classes alike, so that a gradient beyond the range keeps its direction. */
        const double shrink = fmin(LARGEST * ROOM / largest, 1);
        for (int64_t c = 0; c <= C; c++) h->coefficients[c * B + b] = (REAL)(pull[c] * shrink);
    }
}

/* ---- what kernels/cpu.py calls ------------------------------------------- */

EXPORT int OPERATION(sums)(const REAL *overlaps, const REAL *classes, int64_t stride, int64_t K,
                              int64_t B, int64_t C, const double *parameters, int64_t every_class,
                              REAL *scale, REAL *sums, void *parallel, int threads) {
    /* The last row is read in whole vectors, which end after it. */
    REAL *shifts = room(sizeof(REAL) * (size_t)(K * (C + 1) + LANES + K));
    if (!shifts) return OUT_OF_MEMORY;
    memset(shifts + K * (C + 1), 0, sizeof(vec));
    REAL *largest = shifts + K * (C + 1) + LANES;
    const task t = {.K = K, .B = B, .C = C, .overlaps = overlaps, .classes = classes,
                    .stride = stride, .term = value_term(parameters), .every_class = every_class != 0,
                    .shifts = shifts, .largest_shifts = largest, .scale = scale, .sums = sums};
    for (int64_t k = 0; k < K; k += ROWS) {
        const int64_t count = K - k < ROWS ? K - k : ROWS;
        for (int64_t i = k + ROWS; i < k + 2 * ROWS && i < K; i++)
            __builtin_prefetch(classes + i * stride);
        NAME(shift)(shifts + k * (C + 1), &t, k, count);
        for (int64_t i = k; i < k + count; i++) {
            const REAL *row = shifts + i * (C + 1);
            largest[i] = row[0];
            for (int64_t c = 1; c <= C; c++) largest[i] = row[c] > largest[i] ? row[c] : largest[i];
        }
    }
    queue q = {.item = NAME(sums_item), .work = &t, .items = NAME(tiles)(B),
               .scratch = sizeof(REAL) * (size_t)((C + 1) * WIDTH)};
    const int outcome = run(&q, (parallel_fn)parallel, threads);
    free(shifts);
    return outcome;
}

/* Log-energy and energy gap, (B, C), as in kernels/look.py, one number after the other, so that no
 * bit depends on a place in a vector. `scale` is (1, B) or (C + 1, B). */
EXPORT int OPERATION(energies)(const REAL *sums, const REAL *scale, int64_t scale_rows,
                                  int64_t B, int64_t C, const double *parameters,
                                  double temperature, double *log_energy, double *gap, void *parallel, int threads) {
    const int64_t step = scale_rows == 1 ? 0 : B;
    (void)parallel, (void)threads;
    for (int64_t b = 0; b < B; b++) {
        double largest = scale[b];
        for (int64_t c = 1; c < scale_rows; c++) largest = fmax(largest, scale[c * B + b]);
        double relative[2]; /* to the largest scale: of a class, and of off */
        for (int64_t c = C; c >= 0; c--) {
            const double of_class = scale[c * step + b], sum = sums[c * B + b];
            relative[c == C] = sum * (of_class == largest ? 1 : ratio(parameters, of_class, largest));
            if (c == C) continue;
            log_energy[b * C + c] = log_value(parameters, of_class) + log(sum);
            gap[b * C + c] = relative[0] - relative[1];
        }
        double most = 1;
        for (int64_t c = 0; c < C; c++) most = fmax(most, fabs(gap[b * C + c]));
        const double factor = fmin(ratio(parameters, largest, temperature), DBL_MAX / 2 / most);
        for (int64_t c = 0; c < C; c++) gap[b * C + c] *= factor;
    }
    return OK;
}

/* `scale` is (1, B) or (C + 1, B), `coefficients` (C + 1, B). */
EXPORT int OPERATION(weights)(const REAL *overlaps, const REAL *classes, int64_t stride,
                                 int64_t K, int64_t B, int64_t C, const double *parameters,
                                 const REAL *scale, int64_t scale_rows, const REAL *coefficients,
                                 REAL *weights, REAL *class_gradient, void *parallel, int threads) {
    const int64_t numbers = NAME(tiles)(B) * (C + 1) * VECTORS;
    vec *tiles = room(sizeof(vec) * (size_t)(2 * numbers)), *prepared = tiles + numbers;
    if (!tiles) return OUT_OF_MEMORY;
    NAME(to_tiles)(tiles, coefficients, C + 1, B, 0);
    NAME(to_tiles)(prepared, scale, C + 1, B, scale_rows == 1);
    for (int64_t i = 0; i < numbers; i++)
        for (int64_t l = 0; l < LANES; l++) prepared[i][l] = NAME(prepared)(prepared[i][l]);
    const task t = {.K = K, .B = B, .C = C, .overlaps = overlaps, .classes = classes,
                    .stride = stride, .term = slope_term(parameters), .prepared = prepared,
                    .coefficients = tiles, .weights = weights, .class_gradient = class_gradient};
    queue q = {.item = NAME(weights_item), .work = &t, .items = (K + ROWS - 1) / ROWS,
               .scratch = (sizeof(vec) + sizeof(REAL)) * (size_t)(ROWS * (C + 1))};
    const int outcome = run(&q, (parallel_fn)parallel, threads);
    free(tiles);
    return outcome;
}

EXPORT int OPERATION(objective)(const REAL *sums, const REAL *scale, const int64_t *labels,
                                   int64_t B, int64_t C, const double *parameters,
                                   double temperature, double loss_power, double *activity, int64_t *predicted,
                                   double *objective, REAL *coefficients, void *parallel,
                                   int threads) {
    const NAME(head) h = {.B = B, .C = C, .sums = sums, .scale = scale, .labels = labels,
                          .parameters = parameters, .temperature = temperature, .loss_power = loss_power,
                          .slope_power = exponent_of(2 * loss_power - 1),
                          .activity = activity, .objective = objective, .predicted = predicted,
                          .coefficients = coefficients};
    queue q = {.item = NAME(head_item), .work = &h, .items = NAME(tiles)(B),
               .scratch = sizeof(double) * (size_t)(C + 1)};
    return run(&q, (parallel_fn)parallel, threads);
}

#include "cpu_gather.h"

#undef LANES
#undef WIDTH
#undef vec
#undef loose_vec
#undef bits
#undef task
#undef FLOOR
