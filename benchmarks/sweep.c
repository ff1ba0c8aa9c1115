/* Many runs of SGD, heavy ball or Adam on Himmelblau's function, as dynopt.sweep runs them.

The runs of a block stay in small arrays, which the first cache holds, through all steps; threads
share the blocks. After every step the position is compared with the radius that counts as
divergence, and the memory must be finite. The first failure is kept as dynopt.runs.iterate does: 0
if there is none, 2 k + 1 if the run diverged after step k, 2 k + 2 if it turned nonfinite. The code
is built with -ffast-math, which lets the compiler assume that nothing is infinite or NaN, so the
bits are tested for that.
*/

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef BLOCK
#define BLOCK 64
#endif
#define INLINE static inline __attribute__((always_inline))

enum { SGD, MOMENTUM, ADAM };
static const uint64_t ONE = 0x3ff0000000000000, INFINITE = 0x7ff0000000000000;

INLINE uint64_t magnitude(double number) { /* increases with |number|, then infinity, then NaN */
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits & ~(1ull << 63);
}

INLINE void gradient(double x, double y, double *gx, double *gy) {
    double a = x * x + y - 11, b = x + y * y - 7;
    *gx = 4 * a * x + 2 * b;
    *gy = 2 * a + 4 * b * y;
}

/* Runs `count` of a block; `rates` are the learning rate, then momentum, or b1, b2 and eps. */
INLINE void block(int kind, int count, long steps, const double *rates, const double *x0,
                  double *ends, double *loss, double *norm, int64_t *failure) {
    double x[BLOCK], y[BLOCK], near[BLOCK];
    double mx[BLOCK] = {0}, my[BLOCK] = {0}, vx[BLOCK] = {0}, vy[BLOCK] = {0};
    uint64_t failed[BLOCK] = {0};
    double rate = rates[0], power1 = 1, power2 = 1;
    for (int i = 0; i < BLOCK; i++) {
        int run = i < count ? i : count - 1; /* the last one fills the block */
        x[i] = x0[2 * run], y[i] = x0[2 * run + 1];
        double radius = 1 + sqrt(x[i] * x[i] + y[i] * y[i]);
        near[i] = 0x1p-52 / (radius * radius);
    }
    for (long k = 1; k <= steps; k++) {
        double step = rate, scale = 1;
        if (kind == ADAM) {
            power1 *= rates[1], power2 *= rates[2];
            step = rate / (1 - power1), scale = 1 / (1 - power2);
        }
#pragma omp simd
        for (int i = 0; i < BLOCK; i++) {
            double gx, gy;
            uint64_t finite = 1;
            gradient(x[i], y[i], &gx, &gy);
            if (kind == SGD) {
                x[i] -= step * gx, y[i] -= step * gy;
            } else if (kind == MOMENTUM) {
                mx[i] = rates[1] * mx[i] + gx, my[i] = rates[1] * my[i] + gy;
                x[i] -= step * mx[i], y[i] -= step * my[i];
            } else {
                mx[i] += (1 - rates[1]) * (gx - mx[i]), my[i] += (1 - rates[1]) * (gy - my[i]);
                vx[i] += (1 - rates[2]) * (gx * gx - vx[i]);
                vy[i] += (1 - rates[2]) * (gy * gy - vy[i]);
                x[i] -= step * mx[i] / (sqrt(scale * vx[i]) + rates[3]);
                y[i] -= step * my[i] / (sqrt(scale * vy[i]) + rates[3]);
                finite = (magnitude(vx[i]) < INFINITE) & (magnitude(vy[i]) < INFINITE);
            }
            if (kind != SGD)
                finite &= (magnitude(mx[i]) < INFINITE) & (magnitude(my[i]) < INFINITE);
            uint64_t distance = magnitude((x[i] * x[i] + y[i] * y[i]) * near[i]);
            int diverged = (distance > ONE) & (distance <= INFINITE);
            uint64_t now = diverged ? 2 * k + 1 : (distance <= ONE) & finite ? 0 : 2 * k + 2;
            failed[i] = failed[i] ? failed[i] : now;
        }
    }
    for (int i = 0; i < count; i++) {
        double gx, gy, a = x[i] * x[i] + y[i] - 11, b = x[i] + y[i] * y[i] - 7;
        gradient(x[i], y[i], &gx, &gy);
        ends[2 * i] = x[i], ends[2 * i + 1] = y[i];
        loss[i] = a * a + b * b, norm[i] = sqrt(gx * gx + gy * gy);
        int finite = (magnitude(loss[i]) < INFINITE) & (magnitude(norm[i]) < INFINITE);
        failure[i] = failed[i] || finite ? failed[i] : 2 * (uint64_t)steps + 2;
    }
}

#define SWEEP(name, kind)                                                                          \
    void name(long runs, long steps, int threads, const double *rates, const double *x0,           \
              double *ends, double *loss, double *norm, int64_t *failure) {                        \
        _Pragma("omp parallel for schedule(dynamic, 4) num_threads(threads)")                      \
        for (long i = 0; i < runs; i += BLOCK)                                                     \
            block(kind, runs - i < BLOCK ? runs - i : BLOCK, steps, rates, x0 + 2 * i,             \
                  ends + 2 * i, loss + i, norm + i, failure + i);                                  \
    }

SWEEP(sgd, SGD)
SWEEP(momentum, MOMENTUM)
SWEEP(adam, ADAM)
