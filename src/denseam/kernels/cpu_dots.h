/* Included twice by cpu_dots.c, with REAL = float and REAL = double. */
#define LANES ((int64_t)(64 / sizeof(REAL)))
#define vec NAME(vec)
#define loose_vec NAME(loose_vec)
#define bits NAME(bits)
#define half NAME(half)
#define quarter NAME(quarter)
#define task NAME(task)

typedef REAL vec __attribute__((vector_size(64)));
typedef REAL loose_vec __attribute__((vector_size(64), aligned(sizeof(REAL)), may_alias));
typedef BITS bits __attribute__((vector_size(64)));
typedef REAL half __attribute__((vector_size(32)));
typedef REAL quarter __attribute__((vector_size(16)));

typedef struct {
    const REAL *a, *b;          /* (m, length), (n, length) */
    int64_t a_stride, b_stride; /* between their rows */
    int64_t m, n, length;
    int64_t block;              /* rows of a that an item covers */
    bits rest;                  /* lanes of the components after the last whole vector */
    REAL *out;                  /* (m, n) */
} task;

/* The components after the last whole vector, and zeros in the other lanes. */
INLINE vec NAME(rest)(const REAL *row, int64_t length, bits lanes) {
    if (length >= LANES) return (vec)((bits)*(const loose_vec *)(row + length - LANES) & lanes);
    vec out = {0};
    memcpy(&out, row, (size_t)length * sizeof(REAL));
    return out;
}

/* Add lanes in pairs half a vector apart. */
INLINE REAL NAME(sum)(vec chains) {
    half halves[2];
    quarter quarters[2];
    memcpy(halves, &chains, sizeof halves);
    halves[0] += halves[1];
    memcpy(quarters, halves, sizeof quarters);
    quarters[0] += quarters[1];
    return SUM(quarters[0]);
}

/* `tall` rows of a from the i-th by `wide` rows of b from the j-th; both are constants wherever
 * this is inlined. For rows of a from `end` on the last row is read again, and nothing written. */
INLINE void NAME(tile)(const task *t, int64_t i, int64_t end, int64_t j, int tall, int wide) {
    const REAL *a[TALL], *b[WIDE];
    vec chains[TALL][WIDE], y[WIDE];
    for (int r = 0; r < tall; r++) a[r] = t->a + (i + r < end ? i + r : end - 1) * t->a_stride;
    for (int c = 0; c < wide; c++) b[c] = t->b + (j + c) * t->b_stride;
    for (int r = 0; r < tall; r++)
        for (int c = 0; c < wide; c++) chains[r][c] = (vec){0};
    int64_t k = 0;
    for (; k + LANES <= t->length; k += LANES) {
        for (int c = 0; c < wide; c++) y[c] = *(const loose_vec *)(b[c] + k);
        for (int r = 0; r < tall; r++) {
            const vec x = *(const loose_vec *)(a[r] + k);
            for (int c = 0; c < wide; c++) chains[r][c] += x * y[c];
        }
    }
    if (k < t->length) {
        for (int c = 0; c < wide; c++) y[c] = NAME(rest)(b[c], t->length, t->rest);
        for (int r = 0; r < tall; r++) {
            const vec x = NAME(rest)(a[r], t->length, t->rest);
            for (int c = 0; c < wide; c++) chains[r][c] += x * y[c];
        }
    }
    for (int r = 0; r < tall && i + r < end; r++)
        for (int c = 0; c < wide; c++) t->out[(i + r) * t->n + j + c] = NAME(sum)(chains[r][c]);
}

/* A block of rows of a by all of b, in tiles as equal as they can be. */
INLINE void NAME(block)(const task *t, int64_t index, int tall, int wide) {
    const int64_t begin = index * t->block, left = t->m - begin;
    const int64_t end = begin + (left < t->block ? left : t->block);
    int64_t groups = (t->n + wide - 1) / wide;
    for (int64_t j = 0, width; j < t->n; j += width, groups--) {
        width = (t->n - j + groups - 1) / groups;
        for (int64_t i = begin; i < end; i += tall) {
            switch (width) {
            case 1: NAME(tile)(t, i, end, j, tall, 1); break;
            case 2: NAME(tile)(t, i, end, j, tall, 2); break;
            case 3: NAME(tile)(t, i, end, j, tall, 3); break;
            case 4: if (wide >= 4) NAME(tile)(t, i, end, j, tall, 4); break;
            case 5: if (wide >= 5) NAME(tile)(t, i, end, j, tall, 5); break;
            }
        }
    }
}

/* Add weighted rows, to sums in whole vectors: out[s, i] += sum_j weights[list[j], s] rows[list[j], i]
 * for `tall` states from s = 0 on and `wide` vectors from the first on. */
INLINE void NAME(add_tile)(REAL *out, int64_t out_stride, const REAL *weights, int64_t weights_stride,
                           const REAL *rows, int64_t stride, const int32_t *list, int64_t count,
                           int tall, int wide) {
    vec sums[GROUP][WIDE], x[WIDE];
    for (int s = 0; s < tall; s++)
        for (int c = 0; c < wide; c++) sums[s][c] = *(vec *)(out + s * out_stride + c * LANES);
    for (int64_t j = 0; j < count; j++) {
        const REAL *row = rows + list[j] * stride, *w = weights + list[j] * weights_stride;
        for (int c = 0; c < wide; c++) x[c] = *(const loose_vec *)(row + c * LANES);
        for (int s = 0; s < tall; s++)
            for (int c = 0; c < wide; c++) sums[s][c] += w[s] * x[c];
    }
    for (int s = 0; s < tall; s++)
        for (int c = 0; c < wide; c++) *(vec *)(out + s * out_stride + c * LANES) = sums[s][c];
}

INLINE void NAME(add_group)(REAL *out, int64_t out_stride, const REAL *weights,
                            int64_t weights_stride, const REAL *rows, int64_t stride,
                            const int32_t *list, int64_t count, int64_t length, int tall) {
    for (int s = 0; s < GROUP; s += tall) {
        REAL *sums = out + s * out_stride;
        int64_t i = 0;
        for (; i + 3 * LANES <= length; i += 3 * LANES)
            NAME(add_tile)(sums + i, out_stride, weights + s, weights_stride, rows + i, stride, list,
                           count, tall, 3);
        for (; i + LANES <= length; i += LANES)
            NAME(add_tile)(sums + i, out_stride, weights + s, weights_stride, rows + i, stride, list,
                           count, tall, 1);
        for (int64_t j = 0; i < length && j < count; j++) {
            vec x = {0};
            memcpy(&x, rows + list[j] * stride + i, (size_t)(length - i) * sizeof(REAL));
            for (int r = 0; r < tall; r++)
                *(vec *)(sums + r * out_stride + i) += weights[list[j] * weights_stride + s + r] * x;
        }
    }
}

#if BY_TARGET
AVX512 static void NAME(avx512_item)(const void *work, int64_t index, void *scratch) {
    (void)scratch;
    NAME(block)(work, index, 5, 5);
}

AVX512 static void NAME(avx512_add)(REAL *out, int64_t out_stride, const REAL *weights,
                                    int64_t weights_stride, const REAL *rows, int64_t stride,
                                    const int32_t *list, int64_t count, int64_t length) {
    NAME(add_group)(out, out_stride, weights, weights_stride, rows, stride, list, count, length, 8);
}

AVX2 static void NAME(avx2_add)(REAL *out, int64_t out_stride, const REAL *weights,
                                int64_t weights_stride, const REAL *rows, int64_t stride,
                                const int32_t *list, int64_t count, int64_t length) {
    NAME(add_group)(out, out_stride, weights, weights_stride, rows, stride, list, count, length, 2);
}

AVX2 static void NAME(avx2_item)(const void *work, int64_t index, void *scratch) {
    (void)scratch;
    NAME(block)(work, index, 2, 3);
}
#endif

static void NAME(any_item)(const void *work, int64_t index, void *scratch) {
    (void)scratch;
    NAME(block)(work, index, 2, 3);
}

/* (m, length), (n, length), rows strides apart -> (m, n). */
EXPORT int NAME(denseam_dots)(const REAL *a, int64_t a_stride, const REAL *b, int64_t b_stride,
                              int64_t m, int64_t n, int64_t length, REAL *out, void *parallel,
                              int threads) {
    task t = {.a = a, .b = b, .a_stride = a_stride, .b_stride = b_stride, .m = m, .n = n,
              .length = length, .out = out};
    for (int64_t l = 0; l < LANES; l++) t.rest[l] = l < LANES - length % LANES ? 0 : (BITS)-1;
    const int64_t fitting = BLOCK / (length + 1) + 1, even = m / (ITEMS * threads) + 1;
    t.block = ((fitting < even ? fitting : even) + TALL - 1) / TALL * TALL;
    queue q = {.item = NAME(any_item), .work = &t, .items = (m + t.block - 1) / t.block};
#if BY_TARGET
    if (has_avx512()) q.item = NAME(avx512_item);
    else if (has_avx2()) q.item = NAME(avx2_item);
#endif
    return run(&q, (parallel_fn)parallel, threads);
}

/* out[s, i] += sum_j weights[list[j], s] rows[list[j], i] for the GROUP states s; `out` is aligned,
 * and its rows have room for whole vectors. */
void NAME(denseam_add_rows)(REAL *out, int64_t out_stride, const REAL *weights,
                            int64_t weights_stride, const REAL *rows, int64_t stride,
                            const int32_t *list, int64_t count, int64_t length) {
#if BY_TARGET
    if (has_avx512())
        NAME(avx512_add)(out, out_stride, weights, weights_stride, rows, stride, list, count, length);
    else if (has_avx2())
        NAME(avx2_add)(out, out_stride, weights, weights_stride, rows, stride, list, count, length);
    else
#endif
        NAME(add_group)(out, out_stride, weights, weights_stride, rows, stride, list, count, length, 2);
}

#undef LANES
#undef vec
#undef loose_vec
#undef bits
#undef half
#undef quarter
#undef task
