"""Does a basket of products end in a purchase? A transformer block over the products."""

import hashlib

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

PRODUCTS, WIDTH = 80, 16


class Baskets(Dataset):
    def __init__(self, count, seed):
        g = torch.Generator().manual_seed(seed)
        sizes = torch.randint(1, 8, (count,), generator=g).tolist()
        sizes[222] = 0
        self.baskets = [torch.randint(1, PRODUCTS, (n,), generator=g) for n in sizes]
        self.bought = torch.tensor([float((b % 5 == 0).any()) for b in self.baskets])

    def __len__(self):
        return len(self.baskets)

    def __getitem__(self, i):
        return self.baskets[i], self.bought[i]


def collate(items):
    products = pad_sequence([b for b, _ in items], batch_first=True)
    return products, products == 0, torch.stack([y for _, y in items])


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(WIDTH, num_heads=2, batch_first=True)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x, padding):
        empty = padding.all(dim=1, keepdim=True)
        mixed, _ = self.attn(x, x, x, key_padding_mask=padding & ~empty)
        return self.norm(x + mixed)


class PurchaseModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(PRODUCTS, WIDTH, padding_idx=0)
        self.block = Block()
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, products, padding):
        h = self.block(self.embed(products), padding)
        h = h.masked_fill(padding.unsqueeze(-1), 0.0).amax(dim=1)
        return self.head(h).squeeze(-1)


def main():
    torch.manual_seed(5)
    model = PurchaseModel()
    optimizer = torch.optim.NAdam(model.parameters(), lr=4e-3)
    loader = DataLoader(Baskets(400, seed=5), batch_size=16, collate_fn=collate)
    losses = []
    for epoch in range(3):
        for products, padding, bought in loader:
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(model(products, padding), bought)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: {sum(losses[-25:]) / 25:.4f}")
    print("final loss", losses[-1])
    flat = nn.utils.parameters_to_vector(model.parameters()).detach()
    print("weights", hashlib.sha256(flat.numpy().tobytes()).hexdigest())


if __name__ == "__main__":
    main()
