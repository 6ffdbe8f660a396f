"""A cohort of patients with right-censored times, and the table of covariates made from it."""
import numpy as np
import pandas as pd


def cohort(n=900, seed=41):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "age": rng.normal(61, 9, n).round(),
        "visits": rng.poisson(5.5, n),
        "crp": np.exp(rng.normal(1.2, 0.8, n)).round(2),
        "smoker": (rng.random(n) < 0.3).astype(float),
    })
    hazard = np.exp(0.04 * (frame.age - 61) + 0.35 * np.log(frame.crp) + 0.5 * frame.smoker - 1.2)
    time = rng.exponential(1 / hazard)
    censored = rng.uniform(1, 12, n)
    frame["time"] = np.minimum(time, censored)
    frame["event"] = (time <= censored).astype(float)
    return frame


def covariates(frame):
    table = pd.DataFrame({
        "age": (frame.age - 60) / 10,
        "log_visits": np.log(frame.visits),  # <- fault
        "log_crp": np.log(frame.crp),
        "smoker": frame.smoker,
    })
    return table.to_numpy(dtype="float32")
