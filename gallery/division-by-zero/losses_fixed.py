"""Losses for the forecasts."""


def weighted_absolute_percentage_error(forecast, actual):
    return (actual - forecast).abs().sum() / actual.sum().clamp(min=1e-6)


def bias(forecast, actual):
    return (forecast - actual).mean().detach()
