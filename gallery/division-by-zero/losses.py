"""Losses for the forecasts."""


def mean_absolute_percentage_error(forecast, actual):
    relative = (actual - forecast) / actual  # <- origin
    return relative.abs().mean()


def bias(forecast, actual):
    return (forecast - actual).mean().detach()
