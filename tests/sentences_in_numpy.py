"""The encoder and the eight losses of sentences, word by word and example by example in numpy."""

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def encoded(x, sentence):
    """The last value of the recurrent unit, over the words that are no padding."""
    w, u, b = (np.asarray(x["gru"][name]) for name in "wub")
    h = np.zeros(len(u))
    for word in sentence:
        if word >= 0:
            wz, wr, wc = np.split(np.asarray(x["embed"])[word] @ w + b, 3)
            uz, ur, uc = np.split(h @ u, 3)
            z, r = sigmoid(wz + uz), sigmoid(wr + ur)
            h = (1 - z) * h + z * np.tanh(wc + r * uc)
    return h


def angle(a, b):
    return np.arccos(a @ b / np.sqrt((a @ a) * (b @ b)))


def of_own(kind, theta, m):
    """What replaces cos θ of the own class."""
    if kind == "am":
        return np.cos(theta) - m
    if kind == "arc":
        return np.cos(theta + m) if theta + m < np.pi else np.cos(theta) - 1 + np.cos(m)
    if kind == "angular":
        return np.cos(2 * theta) if theta < np.pi / 2 else -2 - np.cos(2 * theta)
    return np.cos(theta)


def of_sentence(kind, x, tokens, label, s, m):
    """-log of the softmax of the scores at the label."""
    h, classes = encoded(x, tokens), np.asarray(x["class"]).T
    if kind == "softmax":
        scores = classes @ h
    else:
        angles = [angle(h, w) for w in classes]
        scores = s * np.cos(angles)
        scores[label] = s * of_own(kind, angles[label], m)
    return -np.log(np.exp(scores[label]) / np.exp(scores).sum())


def of_anchor(kind, u, negatives, s, m):
    """The loss of an anchor with the cosine u of its positive, and those of its negatives."""
    if kind == "pair":
        wrong = [-np.log(1 - sigmoid(s * (v - 0.5))) for v in negatives]
        return (-np.log(sigmoid(s * (u - 0.5))) + np.mean(wrong)) / 2
    if kind == "triplet":
        return np.mean([max(0, m + v - u) for v in negatives])
    return -np.log(np.exp(s * u) / (np.exp(s * u) + sum(np.exp(s * v) for v in negatives)))


def loss(kind, x, data, training=None, s=16.0, m=0.3):
    """The mean over the examples: sentences with labels, or indices of training sentences."""
    if training is None:
        return np.mean([of_sentence(kind, x, *one, s, m) for one in zip(*data, strict=True)])
    h = [encoded(x, sentence) for sentence in np.asarray(training)]

    def cosine(i, j):
        return np.cos(angle(h[i], h[j]))

    return np.mean(
        [
            of_anchor(kind, cosine(i, j), [cosine(i, k) for k in others], s, m)
            for i, j, others in zip(*map(np.asarray, data), strict=True)
        ]
    )
