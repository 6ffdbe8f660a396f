import numpy as np

RATE = 4000


def record(kind, gain, rng, seconds=0.5):
    """16-bit recording of a rising, falling or level tone with noise, as a small recorder gives it."""
    t = np.arange(int(RATE * seconds)) / RATE
    swell = {0: t / seconds, 1: 1 - t / seconds, 2: np.full_like(t, 0.55)}[kind]
    sound = swell * np.sin(2 * np.pi * rng.uniform(180, 420) * t + rng.uniform(0, 6)) + 0.05 * rng.standard_normal(len(t))
    return np.clip(gain * sound, -32768, 32767).astype(np.int16)


def loudness(pcm, frame=100):
    """Root mean square of every frame, in decibels."""
    frames = pcm.astype(np.float32).reshape(-1, frame)
    power = (frames * frames).mean(axis=1)
    rms = np.sqrt(power)
    return 20 * np.log10(rms + 1.0)
