/* The trunk (network.py: residual stem, stages 2-5) for one thread of a CPU, in fp32.
 *
 * The 3x3 convolutions are Winograd's F(4x4, 3x3): a quarter of the multiplications of the direct form. Layer
 * normalisation, ReLU and clip are applied as a layer's input is read, so a map is read and written once a layer, in
 * place. A few patches go through a layer in step, so that its weights come from the cache. A map is (S, S, 32) floats,
 * channels last. Compiled once for AVX2 and once for AVX-512; see kernel.py.
 */

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum {
    CHANNELS = 32,
    PATCH = 64,
    GROUP = 4,              /* patches in step */
    OUT = 4,                /* side of a tile that a Winograd step computes */
    IN = OUT + 2,           /* side of the input that it needs */
    POINTS = IN * IN,       /* its products per channel pair */
    TAPS = 7,               /* side of the stem's kernel */
    REACH = TAPS / 2,
    PADDED = (PATCH + 2 * REACH) * 3, /* floats in a row of the padded colour patch */
#ifdef __AVX512F__
    LANES = 16,
    BLOCK = 12, /* pixels of one product kernel: 2 * BLOCK accumulators and 3 others fit the registers */
#else
    LANES = 8,
    BLOCK = 6,
#endif
    VECTORS = CHANNELS / LANES
};

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias)); /* in memory */
#define AT(pointer) (*(loose *)(pointer))
#define CONST_AT(pointer) (*(const loose *)(pointer))
#ifdef __AVX512F__
#define MAX _mm512_max_ps
#define MIN _mm512_min_ps
#else
#define MAX _mm256_max_ps
#define MIN _mm256_min_ps
#endif
#define INLINE static inline __attribute__((always_inline))

/* The norm after a layer and what clips its result; no weight: the map is used as it is. */
typedef struct {
    const float *weight, *bias; /* (S, S, 32) */
    float low, high;
} Norm;

typedef struct {
    float map[PATCH * PATCH * CHANNELS];
    float rows[IN * (PATCH + 2) * CHANNELS]; /* of normalised input, with its zero padding */
    double sum, squares;                     /* over the map as it is computed, */
    float scale, shift;                      /* then 1 / deviation and -mean / deviation */
} __attribute__((aligned(64))) Map; /* as are the weights and the scratch: no load crosses cache lines */

typedef struct {
    Map maps[GROUP];
    float transformed[(PATCH / OUT) * POINTS * CHANNELS]; /* (tile, point, channel) of a row of tiles */
    float products[(PATCH / OUT) * POINTS * CHANNELS];
    float padded[(PATCH + 2 * REACH) * PADDED];
} Scratch;

static const float NONE[CHANNELS];

long trunk_scratch_bytes(void) { return sizeof(Scratch); }

/* `count` pixels: 32 outputs each, the sum over `lines` x `width` inputs times weights (lines * width, 32). */
INLINE void product(const float *in, long step, long lines, long line_step, long width, const float *weights,
                    const float *bias, float *out, long out_step, const int count, const int vectors) {
    for (int first = 0; first < CHANNELS; first += vectors * LANES) {
        vec sums[BLOCK][VECTORS], w[VECTORS];
        for (int i = 0; i < count; i++)
            for (int j = 0; j < vectors; j++)
                sums[i][j] = CONST_AT(bias + first + j * LANES);
        const float *row = weights + first;
        for (long line = 0; line < lines; line++)
            for (long k = 0; k < width; k++, row += CHANNELS) {
                const float *x = in + line * line_step + k;
                for (int j = 0; j < vectors; j++) {
                    w[j] = CONST_AT(row + j * LANES);
                    __asm__("" : "+v"(w[j])); /* keep it in a register: gcc would load it again for each use */
                }
#pragma GCC unroll 16
                for (int i = 0; i < count; i++)
                    for (int j = 0; j < vectors; j++)
                        sums[i][j] += x[i * step] * w[j];
            }
        for (int i = 0; i < count; i++)
            for (int j = 0; j < vectors; j++)
                AT(out + i * out_step + first + j * LANES) = sums[i][j];
    }
}

INLINE void products(long count, const float *in, long step, long lines, long line_step, long width,
                     const float *weights, const float *bias, float *out, long out_step) {
    while (count > 0) {
        long done = count >= BLOCK ? BLOCK : count >= 4 ? 4 : count >= 2 ? 2 : 1;
        if (done == BLOCK)
            product(in, step, lines, line_step, width, weights, bias, out, out_step, BLOCK, 2);
        else if (done == 4)
            product(in, step, lines, line_step, width, weights, bias, out, out_step, 4, 2);
        else if (done == 2) /* few pixels: all channels at once, or each sum would wait for its own last addition */
            product(in, step, lines, line_step, width, weights, bias, out, out_step, 2, VECTORS);
        else
            product(in, step, lines, line_step, width, weights, bias, out, out_step, 1, VECTORS);
        count -= done, in += done * step, out += done * out_step;
    }
}

static void begin_moments(Map *m) { m->sum = m->squares = 0; }

static void add_moments(Map *m, const vec sum, const vec squares) {
    for (int lane = 0; lane < LANES; lane++)
        m->sum += sum[lane], m->squares += squares[lane];
}

static void end_moments(Map *m, long side) {
    double count = (double)side * side * CHANNELS, mean = m->sum / count, variance = m->squares / count - mean * mean;
    double scale = 1 / sqrt((variance < 0 ? 0 : variance) + 1e-5);
    m->scale = (float)scale, m->shift = (float)(-mean * scale);
}

static void normalise_row(const Map *m, long side, long row, const Norm *norm, float *out) {
    const long start = row * side * CHANNELS, length = side * CHANNELS;
    if (!norm->weight) {
        memcpy(out, m->map + start, length * sizeof(float));
        return;
    }
    const vec low = (vec){0} + norm->low, high = (vec){0} + norm->high;
    for (long i = 0; i < length; i += LANES) {
        vec x = CONST_AT(m->map + start + i) * m->scale + m->shift;
        x = x * CONST_AT(norm->weight + start + i) + CONST_AT(norm->bias + start + i);
        AT(out + i) = MIN(high, MAX(low, x)); /* in this order NaN stays NaN */
    }
}

/* Stage 1 without its norm. `kernels`: 3 x 3 kernels (7 * 7 * 3, 32), for the first, middle and last row and column. */
static void stem(const uint8_t *patch, const float *colour, const float *kernels, const float *bias, Scratch *s,
                 Map *m) {
    enum { KERNEL = TAPS * TAPS * 3 * CHANNELS, ROW = PATCH * CHANNELS };
    memset(s->padded, 0, sizeof s->padded);
    for (long y = 0; y < PATCH; y++)
        for (long i = 0; i < PATCH * 3; i++)
            s->padded[(y + REACH) * PADDED + REACH * 3 + i] =
                patch[y * PATCH * 3 + i] * colour[i % 3] + colour[3 + i % 3];
    begin_moments(m);
    for (long y = 0; y < PATCH; y++) {
        const float *in = s->padded + y * PADDED, *row = kernels + (y == 0 ? 0 : y == PATCH - 1 ? 6 : 3) * KERNEL;
        float *out = m->map + y * ROW;
        products(1, in, 3, TAPS, PADDED, TAPS * 3, row, bias, out, CHANNELS);
        products(PATCH - 2, in + 3, 3, TAPS, PADDED, TAPS * 3, row + KERNEL, bias, out + CHANNELS, CHANNELS);
        products(1, in + (PATCH - 1) * 3, 3, TAPS, PADDED, TAPS * 3, row + 2 * KERNEL, bias,
                 out + (PATCH - 1) * CHANNELS, CHANNELS);
        vec sum = {0}, squares = {0};
        for (long i = 0; i < ROW; i += LANES) {
            vec x = CONST_AT(out + i);
            sum += x, squares += x * x;
        }
        add_moments(m, sum, squares);
    }
    end_moments(m, PATCH);
}

INLINE void transform_in(const vec d[IN], vec t[IN]) {
    vec a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], e = 2 * (d[3] - d[1]);
    t[0] = 4 * d[0] - 5 * d[2] + d[4];
    t[1] = a + b, t[2] = a - b;
    t[3] = c + e, t[4] = c - e;
    t[5] = 4 * d[1] - 5 * d[3] + d[5];
}

INLINE void transform_out(const vec m[IN], vec o[OUT]) {
    vec a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], e = m[3] - m[4];
    o[0] = m[0] + a + c;
    o[1] = b + 2 * e;
    o[2] = a + 4 * c;
    o[3] = b + 8 * e + m[5];
}

/* 6x6 pixels of `rows` -> (36, 32). */
static void tile_in(const float *rows, long line_step, float *out) {
    for (int v = 0; v < CHANNELS; v += LANES) {
        vec half[IN][IN];
        for (int x = 0; x < IN; x++) {
            vec d[IN], t[IN];
            for (int y = 0; y < IN; y++)
                d[y] = CONST_AT(rows + y * line_step + x * CHANNELS + v);
            transform_in(d, t);
            for (int y = 0; y < IN; y++)
                half[y][x] = t[y];
        }
        for (int y = 0; y < IN; y++) {
            vec t[IN];
            transform_in(half[y], t);
            for (int x = 0; x < IN; x++)
                AT(out + (y * IN + x) * CHANNELS + v) = t[x];
        }
    }
}

/* (36, 32) -> 4x4 pixels of the map. */
static void tile_out(const float *in, const float *bias, float *map, long line_step, vec *sum, vec *squares) {
    for (int v = 0; v < CHANNELS; v += LANES) {
        vec half[OUT][IN], add = CONST_AT(bias + v);
        for (int x = 0; x < IN; x++) {
            vec m[IN], o[OUT];
            for (int y = 0; y < IN; y++)
                m[y] = CONST_AT(in + (y * IN + x) * CHANNELS + v);
            transform_out(m, o);
            for (int y = 0; y < OUT; y++)
                half[y][x] = o[y];
        }
        for (int y = 0; y < OUT; y++) {
            vec o[OUT];
            transform_out(half[y], o);
            for (int x = 0; x < OUT; x++) {
                vec value = o[x] + add;
                *sum += value, *squares += value * value;
                AT(map + y * line_step + x * CHANNELS + v) = value;
            }
        }
    }
}

/* One row of tiles of one map. `weights`: (36, 32 in, 32 out), then 32 biases. */
static void convolve_strip(Scratch *s, Map *m, long side, long strip, const Norm *norm, const float *weights) {
    const long tiles = side / OUT, line = (side + 2) * CHANNELS, tile = POINTS * CHANNELS;
    const float *bias = weights + POINTS * CHANNELS * CHANNELS;
    float *out = m->map + strip * OUT * side * CHANNELS;
    if (strip == 0) {
        memset(m->rows, 0, IN * line * sizeof(float));
        normalise_row(m, side, 0, norm, m->rows + line + CHANNELS);
    } else
        memcpy(m->rows, m->rows + OUT * line, 2 * line * sizeof(float)); /* the map's own are overwritten by now */
    for (long y = 2; y < IN; y++) {
        long row = strip * OUT - 1 + y;
        if (row < side)
            normalise_row(m, side, row, norm, m->rows + y * line + CHANNELS);
        else
            memset(m->rows + y * line, 0, line * sizeof(float));
    }
    for (long t = 0; t < tiles; t++)
        tile_in(m->rows + t * OUT * CHANNELS, line, s->transformed + t * tile);
    for (long p = 0; p < POINTS; p++)
        products(tiles, s->transformed + p * CHANNELS, tile, 1, 0, CHANNELS, weights + p * CHANNELS * CHANNELS, NONE,
                 s->products + p * CHANNELS, tile);
    vec sum = {0}, squares = {0};
    for (long t = 0; t < tiles; t++)
        tile_out(s->products + t * tile, bias, out + t * OUT * CHANNELS, side * CHANNELS, &sum, &squares);
    add_moments(m, sum, squares);
}

/* 3x3 convolution with padding 1 of the normalised maps, in place. */
static void convolve(Scratch *s, long count, long side, const Norm *norm, const float *weights) {
    for (long n = 0; n < count; n++)
        begin_moments(&s->maps[n]);
    for (long strip = 0; strip < side / OUT; strip++)
        for (long n = 0; n < count; n++)
            convolve_strip(s, &s->maps[n], side, strip, norm, weights);
    for (long n = 0; n < count; n++)
        end_moments(&s->maps[n], side);
}

/* 3x3 average with stride 2 of the normalised map, zeros around it counted, in place. */
static void pool(Map *m, long side, const Norm *norm) {
    const long line = (side + 2) * CHANNELS;
    float *rows = m->rows;
    memset(rows, 0, 3 * line * sizeof(float));
    for (long y = 0; y < side / 2; y++) {
        normalise_row(m, side, 2 * y, norm, rows + line + CHANNELS);
        normalise_row(m, side, 2 * y + 1, norm, rows + 2 * line + CHANNELS);
        for (long i = 0; i < line; i += LANES)
            AT(rows + i) += CONST_AT(rows + line + i) + CONST_AT(rows + 2 * line + i);
        for (long x = 0; x < side / 2; x++)
            for (int v = 0; v < CHANNELS; v += LANES) {
                const float *in = rows + 2 * x * CHANNELS + v;
                AT(m->map + (y * side / 2 + x) * CHANNELS + v) =
                    (CONST_AT(in) + CONST_AT(in + CHANNELS) + CONST_AT(in + 2 * CHANNELS)) / 9;
            }
        memcpy(rows, rows + 2 * line, line * sizeof(float));
    }
}

/* At most GROUP patches; see trunk. */
static void group(const uint8_t *patches, long count, const float *weights, Scratch *s, float *out) {
    static const int depths[] = {4, 2, 2, 2};
    const float *w = weights, *colour = w, *kernels = w + CHANNELS, *bias = kernels + 9 * TAPS * TAPS * 3 * CHANNELS;
    w = bias + CHANNELS;
    long side = PATCH;
    for (long n = 0; n < count; n++)
        stem(patches + n * PATCH * PATCH * 3, colour, kernels, bias, s, &s->maps[n]);
    Norm norm = {w, w + side * side * CHANNELS, -5, 5};
    w += 2 * side * side * CHANNELS;
    for (int stage = 0; stage < 4; stage++) {
        for (int depth = 0; depth < depths[stage]; depth++) {
            convolve(s, count, side, &norm, w);
            w += POINTS * CHANNELS * CHANNELS + CHANNELS;
            norm = (Norm){w, w + side * side * CHANNELS, 0, INFINITY};
            w += 2 * side * side * CHANNELS;
        }
        if (stage == 3)
            break;
        for (long n = 0; n < count; n++)
            pool(&s->maps[n], side, &norm);
        norm = (Norm){0};
        side /= 2;
    }
    for (long n = 0; n < count; n++)
        for (long y = 0; y < side; y++)
            normalise_row(&s->maps[n], side, y, &norm, out + (n * side + y) * side * CHANNELS);
}

/* uint8 (count, 64, 64, 3) -> what leaves stage 5, float (count, 8, 8, 32). `weights`: as kernel.py packs them. */
void trunk(const uint8_t *patches, long count, const float *weights, Scratch *s, float *out) {
    for (long n = 0; n < count; n += GROUP)
        group(patches + n * PATCH * PATCH * 3, count - n < GROUP ? count - n : GROUP, weights, s,
              out + n * 8 * 8 * CHANNELS);
}
