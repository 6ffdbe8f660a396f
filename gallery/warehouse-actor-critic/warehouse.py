import torch


@torch.no_grad()
def episode(actor, days, discount=0.95):
    """States (days, 2), orders and discounted returns of one run of the shop."""
    stock, states, orders, gains = 10.0, [], [], []
    for day in range(days):
        state = torch.tensor([stock / 10 - 1, (day % 7) / 3 - 1])
        order = actor(state[None]).sample()[0]
        demand = float(torch.poisson(torch.tensor(2.0 + (day % 7 > 4))))
        sold = min(stock, demand)
        stock = stock - sold + 2 * float(order)
        states.append(state)
        orders.append(order)
        gains.append(1999 * sold - 150 * stock)  # cents
    total, returns = 0.0, []
    for gain in reversed(gains):
        total = gain + discount * total
        returns.append(total)
    return torch.stack(states), torch.stack(orders), torch.tensor(returns[::-1])  # <- fault
