/* Included twice by cpu_kernels.c, with REAL = float and REAL = double.
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
    exponent power;
    /* of the sums: */
    int every_class;          /* rescale classes whose sums underflow on the image's scale */
    const REAL *shifts;       /* (K, C + 1), and a vector more */
    const REAL *largest_shifts; /* (K) */
    REAL *scale;              /* (C + 1, B), or (1, B) without every_class: what on was divided by */
    REAL *sums;               /* (C + 1, B) */
    /* of the weights: */
    const vec *half_inverse;  /* (tiles, C + 1, VECTORS): 0.5 / scale, and 0 where scale is 0 */
    const vec *coefficients;  /* (tiles, C + 1, VECTORS) */
    REAL *weights;            /* (K, B); may be the overlaps themselves */
    REAL *class_gradient;     /* (K, C); NULL where it is not wanted */
} task;

INLINE int64_t NAME(tiles)(int64_t B) { return (B + WIDTH - 1) / WIDTH; }

/* Twice the positive part: exact, and no comparison in the way of the products. */
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

INLINE int64_t NAME(width)(const task *t, int64_t tile) {
    const int64_t left = t->B - tile * WIDTH;
    return left < WIDTH ? left : WIDTH;
}

/* The shifts of up to ROWS memories, (count, C + 1): side by side, or each sum waits for itself. */
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

/* Ask for a memory's overlaps with a tile ahead of time: rows lie a page apart, where no
 * hardware looks ahead. */
INLINE void NAME(prefetch)(const task *t, int64_t k, int64_t tile) {
    if (k >= t->K) return;
    const char *row = (const char *)(t->overlaps + k * t->B + tile * WIDTH);
    for (int line = 0; line < VECTORS; line++) __builtin_prefetch(row + 64 * line);
}

INLINE vec NAME(larger)(vec a, vec b) {
    const bits first = (bits)(a > b);
    return (vec)(((bits)a & first) | ((bits)b & ~first));
}

/* The largest `on` of every image over all memories, 0 if none is positive: their shifts for one
 * class, or their largest ones, lie `stride` apart. */
INLINE void NAME(largest)(REAL *best, const task *t, int64_t tile, const REAL *shifts,
                          int64_t stride) {
    vec most[VECTORS] = {{0}}, overlap[VECTORS];
    const int64_t width = NAME(width)(t, tile);
    if (width < LANES) {
        const REAL *row = t->overlaps + tile * WIDTH;
        memset(best, 0, WIDTH * sizeof(REAL));
        for (int64_t k = 0; k < t->K; k++, row += t->B, shifts += stride)
            for (int64_t b = 0; b < width; b++)
                best[b] = row[b] + *shifts > best[b] ? row[b] + *shifts : best[b];
        return;
    }
    for (int64_t k = 0; k < t->K; k++, shifts += stride) {
        NAME(prefetch)(t, k + AHEAD, tile);
        NAME(load)(overlap, t, k, tile, width);
        for (int v = 0; v < VECTORS; v++) most[v] = NAME(larger)(overlap[v] + *shifts, most[v]);
    }
    memcpy(best, most, sizeof most);
}

/* Add relu(on / scale)^n of one class over a chunk of memories. Chunks are summed apart, so that
 * rounding grows with CHUNK + K / CHUNK and not with K. */
INLINE void NAME(add_chunk)(REAL *sums, const vec (*overlaps)[VECTORS], const REAL *shifts,
                            int64_t stride, int64_t count, const vec *half_inverse, int whole,
                            exponent power) {
    vec part[VECTORS] = {{0}}, x[VECTORS], p[VECTORS];
    for (int64_t k = 0; k < count; k++) {
        for (int v = 0; v < VECTORS; v++)
            x[v] = NAME(twice_relu)((overlaps[k][v] + shifts[k * stride]) * half_inverse[v]);
        NAME(power)(p, x, whole, power);
        for (int v = 0; v < VECTORS; v++) part[v] += p[v];
    }
    for (int v = 0; v < VECTORS; v++) *(loose_vec *)(sums + v * LANES) += part[v];
}

INLINE void NAME(half_inverse)(vec *out, const REAL *scale) {
    REAL inverse[WIDTH];
    for (int64_t b = 0; b < WIDTH; b++) inverse[b] = scale[b] > 0 ? (REAL)0.5 / scale[b] : 0;
    memcpy(out, inverse, sizeof inverse);
}

/* The sums of the classes [from, to) over all memories for one image, WIDTH apart: with few images
 * the lanes run over classes. Every number is made as above. */
INLINE void NAME(sum_classes_of_one)(REAL *sums, const task *t, int64_t b, int64_t from, int64_t to,
                                     REAL half_inverse, int whole) {
    for (int64_t c = from; c < to; c += LANES) {
        vec sum = {0}, x[VECTORS], p[VECTORS];
        for (int64_t k0 = 0; k0 < t->K; k0 += CHUNK) {
            const int64_t end = k0 + CHUNK < t->K ? k0 + CHUNK : t->K;
            vec part = {0};
            for (int64_t k = k0; k < end; k += VECTORS) {
                for (int64_t v = 0; v < VECTORS; v++) {
                    const int64_t own = k + v < end ? k + v : k;
                    const vec shifts = *(const loose_vec *)(t->shifts + own * (t->C + 1) + c);
                    x[v] = NAME(twice_relu)((t->overlaps[own * t->B + b] + shifts) * half_inverse);
                }
                NAME(power)(p, x, whole, t->power);
                for (int64_t v = 0; v < VECTORS && k + v < end; v++) part += p[v];
            }
            sum += part;
        }
        for (int64_t l = 0; l < LANES && c + l < to; l++) sums[(c - from + l) * WIDTH] = sum[l];
    }
}

/* The sums of the classes [from, to) over all memories, on the scale given: (to - from, WIDTH). */
INLINE void NAME(sum_classes)(REAL *sums, const task *t, int64_t tile, int64_t from, int64_t to,
                              const REAL *scale, int whole) {
    vec overlaps[CHUNK][VECTORS], half[VECTORS];
    const int64_t width = NAME(width)(t, tile), classes = to - from;
    const int64_t each = (CHUNK + classes - 1) / classes; /* rows to ask for with every class */
    NAME(half_inverse)(half, scale);
    memset(sums, 0, (size_t)(classes * WIDTH) * sizeof(REAL));
    if (width <= LANES) {
        for (int64_t b = 0; b < width; b++)
            NAME(sum_classes_of_one)(sums + b, t, tile * WIDTH + b, from, to,
                                     ((const REAL *)half)[b], whole);
        return;
    }
    for (int64_t k = 0; k < t->K; k += CHUNK) {
        const int64_t count = t->K - k < CHUNK ? t->K - k : CHUNK;
        const REAL *shifts = t->shifts + k * (t->C + 1) + from;
        for (int64_t i = 0; i < count; i++) NAME(load)(overlaps[i], t, k + i, tile, width);
        for (int64_t c = 0; c < classes; c++) {
            for (int64_t i = c * each; i < (c + 1) * each && i < CHUNK; i++)
                NAME(prefetch)(t, k + CHUNK + i, tile);
            NAME(add_chunk)(sums + c * WIDTH, overlaps, shifts + c, t->C + 1, count, half, whole,
                            t->power);
        }
    }
}

/* `sums` is room for (C + 1, WIDTH). */
INLINE void NAME(sums)(const task *t, int64_t tile, REAL *sums, int whole) {
    const int64_t rows = t->C + 1, width = NAME(width)(t, tile);
    const size_t bytes = (size_t)width * sizeof(REAL);
    REAL scale[WIDTH];
    NAME(largest)(scale, t, tile, t->largest_shifts, 1);
    NAME(sum_classes)(sums, t, tile, 0, rows, scale, whole);
    for (int64_t c = 0; c < (t->every_class ? rows : 1); c++)
        memcpy(t->scale + c * t->B + tile * WIDTH, scale, bytes);
    for (int64_t c = 0; c < rows; c++) {
        REAL *own = sums + c * WIDTH;
        int lost = 0;
        if (t->every_class && c < t->C)
            for (int64_t b = 0; b < width; b++) lost |= scale[b] > 0 && own[b] < TOO_SMALL;
        if (lost) { /* only those images take the new sums: none depends on others in its tile */
            REAL own_scale[WIDTH], again[WIDTH];
            NAME(largest)(own_scale, t, tile, t->shifts + c, rows);
            NAME(sum_classes)(again, t, tile, c, c + 1, own_scale, whole);
            for (int64_t b = 0; b < width; b++)
                if (scale[b] > 0 && own[b] < TOO_SMALL) {
                    own[b] = again[b];
                    t->scale[c * t->B + tile * WIDTH + b] = own_scale[b];
                }
        }
        memcpy(t->sums + c * t->B + tile * WIDTH, own, bytes);
    }
}

/* weight[k, b] = sum_c coefficient[c, b] relu(on / scale)^n, and the classes' own share.
 * `share` is room for (ROWS, C + 1) sums, lanes apart, `shifts` for (ROWS, C + 1). */
INLINE void NAME(weights)(const task *t, int64_t index, vec *share, REAL *shifts, int whole) {
    const int64_t rows = t->C + 1, tiles = NAME(tiles)(t->B);
    const int64_t k0 = index * ROWS, count = t->K - k0 < ROWS ? t->K - k0 : ROWS;
    memset(share, 0, sizeof(vec) * (size_t)(ROWS * rows));
    NAME(shift)(shifts, t, k0, count);
    for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t width = NAME(width)(t, tile);
        const vec *coefficients = t->coefficients + tile * rows * VECTORS;
        const vec *half = t->half_inverse + tile * rows * VECTORS;
        for (int64_t i = 0; i < count; i++) {
            vec overlap[VECTORS], weight[VECTORS] = {{0}}, x[VECTORS], p[VECTORS];
            NAME(load)(overlap, t, k0 + i, tile, width);
            for (int64_t c = 0; c < rows; c++) {
                const REAL shift = shifts[i * rows + c];
                for (int v = 0; v < VECTORS; v++)
                    x[v] = NAME(twice_relu)((overlap[v] + shift) * half[c * VECTORS + v]);
                NAME(power)(p, x, whole, t->power);
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
    if (t->power.whole) NAME(sums)(t, index, scratch, 1);
    else NAME(sums)(t, index, scratch, 0);
}

WIDEST static void NAME(weights_item)(const void *work, int64_t index, void *scratch) {
    const task *t = work;
    REAL *shifts = (REAL *)((vec *)scratch + ROWS * (t->C + 1));
    if (t->power.whole) NAME(weights)(t, index, scratch, shifts, 1);
    else NAME(weights)(t, index, scratch, shifts, 0);
}

typedef struct {
    int64_t B, C;
    const REAL *sums, *scale;  /* (C + 1, B), (1, B) */
    const int64_t *labels;     /* (B) */
    double power, temperature, loss_power;
    exponent slope_power;      /* 2m - 1 */
    double *activity;          /* (B, C) */
    double *objective;         /* (B) */
    int64_t *predicted;        /* (B) */
    REAL *coefficients;        /* (C + 1, B) */
} NAME(head);

/* From sums to coefficients for a tile of images, Eqs. 2.1 and 2.3, in double precision:
 * (Y - t)^(2m-1) with m = 30 leaves single precision early. As kernels/reference.py does it. */
static void NAME(head_item)(const void *work, int64_t index, void *scratch) {
    const NAME(head) *h = work;
    const int64_t B = h->B, C = h->C, end = (index + 1) * WIDTH < B ? (index + 1) * WIDTH : B;
    const double n = h->power, two_m = 2 * h->loss_power;
    double *pull = scratch; /* (C + 1) */
    for (int64_t b = index * WIDTH; b < end; b++) {
        const double field = h->scale[b] / h->temperature, off = h->sums[C * B + b];
        const double forward = within_range(pow(field, n));
        const double back = within_range(n / h->temperature * pow(field, n - 1));
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
        /* Shrunk as a whole, so that a gradient beyond the range keeps its direction. */
        const double shrink = fmin(LARGEST * ROOM / largest, 1);
        for (int64_t c = 0; c <= C; c++) h->coefficients[c * B + b] = (REAL)(pull[c] * shrink);
    }
}

typedef struct {
    int64_t K, I;
    REAL *memories, *velocity;  /* (K, I) */
    const REAL *gradient;       /* (K, I) */
    REAL momentum, gradient_scale, learning_rate, floor;
} NAME(update);

/* V <- p V - s g;  xi <- clip(xi + eps V / max|V|, -1, 1), memory by memory. */
WIDEST static void NAME(update_item)(const void *work, int64_t index, void *scratch) {
    const NAME(update) *u = work;
    (void)scratch;
    for (int64_t k = index * ROWS; k < u->K && k < (index + 1) * ROWS; k++) {
        REAL *restrict xi = u->memories + k * u->I, *restrict V = u->velocity + k * u->I;
        const REAL *restrict g = u->gradient + k * u->I;
        REAL largest = 0;
        for (int64_t i = 0; i < u->I; i++) {
            V[i] = u->momentum * V[i] - u->gradient_scale * g[i];
            const REAL size = FABS(V[i]);
            largest = size > largest ? size : largest;
        }
        const REAL step = u->learning_rate / (largest > u->floor ? largest : u->floor);
        for (int64_t i = 0; i < u->I; i++) {
            const REAL moved = xi[i] + step * V[i];
            xi[i] = moved > 1 ? 1 : moved < -1 ? -1 : moved;
        }
    }
}

/* ---- what kernels/cpu.py calls ------------------------------------------- */

EXPORT int NAME(denseam_sums)(const REAL *overlaps, const REAL *classes, int64_t stride, int64_t K,
                              int64_t B, int64_t C, double power, int64_t every_class,
                              REAL *scale, REAL *sums, void *parallel, int threads) {
    /* A vector from the last row on ends behind it. */
    REAL *shifts = room(sizeof(REAL) * (size_t)(K * (C + 1) + LANES + K));
    if (!shifts) return OUT_OF_MEMORY;
    memset(shifts + K * (C + 1), 0, sizeof(vec));
    REAL *largest = shifts + K * (C + 1) + LANES;
    const task t = {.K = K, .B = B, .C = C, .overlaps = overlaps, .classes = classes,
                    .stride = stride, .power = exponent_of(power), .every_class = every_class != 0,
                    .shifts = shifts, .largest_shifts = largest, .scale = scale, .sums = sums};
    for (int64_t k = 0; k < K; k += ROWS) {
        const int64_t count = K - k < ROWS ? K - k : ROWS;
        for (int64_t i = k + ROWS; i < k + 2 * ROWS && i < K; i++)
            __builtin_prefetch(classes + i * stride);
        NAME(shift)(shifts + k * (C + 1), &t, k, count);
        for (int64_t i = k; i < k + count; i++) {
            const REAL *own = shifts + i * (C + 1);
            largest[i] = own[0];
            for (int64_t c = 1; c <= C; c++) largest[i] = own[c] > largest[i] ? own[c] : largest[i];
        }
    }
    queue q = {.item = NAME(sums_item), .work = &t, .items = NAME(tiles)(B),
               .scratch = sizeof(REAL) * (size_t)((C + 1) * WIDTH)};
    const int outcome = run(&q, (parallel_fn)parallel, threads);
    free(shifts);
    return outcome;
}

/* Log-energy and energy gap, (B, C), as kernels/energies.py says: few numbers, one after the other,
 * so that none of them is rounded by its place in a vector. `scale` is (1, B) or (C + 1, B). */
EXPORT int NAME(denseam_energies)(const REAL *sums, const REAL *scale, int64_t scale_rows,
                                  int64_t B, int64_t C, double power, double temperature,
                                  double *log_energy, double *gap, void *parallel, int threads) {
    const exponent n = exponent_of(power);
    const int64_t step = scale_rows == 1 ? 0 : B;
    (void)parallel, (void)threads;
    for (int64_t b = 0; b < B; b++) {
        double largest = scale[b];
        for (int64_t c = 1; c < scale_rows; c++) largest = fmax(largest, scale[c * B + b]);
        double relative[2]; /* to the largest scale: of a class, and of off */
        for (int64_t c = C; c >= 0; c--) {
            const double own = scale[c * step + b], sum = sums[c * B + b];
            const double ratio = largest > 0 ? own / largest : 0;
            relative[c == C] = sum * (ratio == 1 ? 1 : scalar_power(ratio, n));
            if (c == C) continue;
            log_energy[b * C + c] = power * log(own) + log(sum);
            gap[b * C + c] = relative[0] - relative[1];
        }
        const double factor = pow(largest / temperature, power);
        for (int64_t c = 0; c < C; c++) gap[b * C + c] *= factor > DBL_MAX ? DBL_MAX : factor;
    }
    return OK;
}

/* `scale` is (1, B) or (C + 1, B), `coefficients` (C + 1, B). */
EXPORT int NAME(denseam_weights)(const REAL *overlaps, const REAL *classes, int64_t stride,
                                 int64_t K, int64_t B, int64_t C, double power,
                                 const REAL *scale, int64_t scale_rows, const REAL *coefficients,
                                 REAL *weights, REAL *class_gradient, void *parallel, int threads) {
    const int64_t numbers = NAME(tiles)(B) * (C + 1) * VECTORS;
    vec *tiles = room(sizeof(vec) * (size_t)(2 * numbers)), *half_inverse = tiles + numbers;
    if (!tiles) return OUT_OF_MEMORY;
    NAME(to_tiles)(tiles, coefficients, C + 1, B, 0);
    NAME(to_tiles)(half_inverse, scale, C + 1, B, scale_rows == 1);
    for (int64_t i = 0; i < numbers; i++)
        for (int64_t l = 0; l < LANES; l++)
            half_inverse[i][l] = half_inverse[i][l] > 0 ? (REAL)0.5 / half_inverse[i][l] : 0;
    const task t = {.K = K, .B = B, .C = C, .overlaps = overlaps, .classes = classes,
                    .stride = stride, .power = exponent_of(power), .half_inverse = half_inverse,
                    .coefficients = tiles, .weights = weights, .class_gradient = class_gradient};
    queue q = {.item = NAME(weights_item), .work = &t, .items = (K + ROWS - 1) / ROWS,
               .scratch = (sizeof(vec) + sizeof(REAL)) * (size_t)(ROWS * (C + 1))};
    const int outcome = run(&q, (parallel_fn)parallel, threads);
    free(tiles);
    return outcome;
}

EXPORT int NAME(denseam_objective)(const REAL *sums, const REAL *scale, const int64_t *labels,
                                   int64_t B, int64_t C, double power, double temperature,
                                   double loss_power, double *activity, int64_t *predicted,
                                   double *objective, REAL *coefficients, void *parallel,
                                   int threads) {
    const NAME(head) h = {.B = B, .C = C, .sums = sums, .scale = scale, .labels = labels,
                          .power = power, .temperature = temperature, .loss_power = loss_power,
                          .slope_power = exponent_of(2 * loss_power - 1),
                          .activity = activity, .objective = objective, .predicted = predicted,
                          .coefficients = coefficients};
    queue q = {.item = NAME(head_item), .work = &h, .items = NAME(tiles)(B),
               .scratch = sizeof(double) * (size_t)(C + 1)};
    return run(&q, (parallel_fn)parallel, threads);
}

EXPORT int NAME(denseam_update)(REAL *memories, REAL *velocity, const REAL *gradient, int64_t K,
                                int64_t I, double momentum, double gradient_scale,
                                double learning_rate, double floor, void *parallel, int threads) {
    const NAME(update) u = {.K = K, .I = I, .memories = memories, .velocity = velocity,
                            .gradient = gradient, .momentum = (REAL)momentum,
                            .gradient_scale = (REAL)gradient_scale,
                            .learning_rate = (REAL)learning_rate, .floor = (REAL)floor};
    queue q = {.item = NAME(update_item), .work = &u, .items = (K + ROWS - 1) / ROWS};
    return run(&q, (parallel_fn)parallel, threads);
}

#undef LANES
#undef WIDTH
#undef vec
#undef loose_vec
#undef bits
#undef task
