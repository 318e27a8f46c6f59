"""PESQ-WB (ITU-T P.862.2) of what was heard against what was said: score.py SAID.wav HEARD.wav

Both are brought to 16 kHz and aligned by cross-correlation. Prints one JSON object:
score, lag_ms (how late the speech begins in HEARD), seconds (how much of it was compared).
"""
import json
import sys

import numpy as np
import soundfile
from pesq import pesq
from scipy.signal import correlate, resample_poly

RATE = 16000


def mono(path):
    samples, rate = soundfile.read(path, always_2d=True)
    return resample_poly(samples.mean(axis=1), RATE, rate)


said, heard = mono(sys.argv[1]), mono(sys.argv[2])
if len(heard) < 5 * RATE:
    sys.exit(f"{sys.argv[2]}: only {len(heard) / RATE:.1f} s were recorded")
lag = int(np.argmax(correlate(heard, said, "full", "fft"))) - (len(said) - 1)
reference, degraded = said[max(-lag, 0):], heard[max(lag, 0):]
length = min(len(reference), len(degraded))
score = pesq(RATE, reference[:length], degraded[:length], "wb")
print(json.dumps({"score": float(score), "lag_ms": 1000 * lag // RATE, "seconds": length / RATE}))
